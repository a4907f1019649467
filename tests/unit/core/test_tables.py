from seglib.core import tables
from seglib.core.tables import Column, Entry, Table
from seglib.metrics.statistics import Interval
from seglib.report import cells

TABLE = Table(
    name="t",
    caption="50 % of_it",
    columns=(
        Column(name="method", title="Method"),
        Column(name="miou", title="mIoU, %", number=True, interval=True),
        Column(name="params", title="Params, 10⁶", number=True),
    ),
    rows=(
        (
            tables.text("a_b & <c>|d"),
            cells.measured(Interval(0.51234, 0.0123, 3), bold=True),
            tables.number(1234567, lambda n: f"{n / 1e6:.2f}"),
        ),
        (tables.text("$x$"), cells.measured(Interval(0.5, None, 1)), tables.number(None, str)),
    ),
)


def test_csv_has_plain_values_and_a_column_per_interval():
    assert tables.to_csv(TABLE) == (
        "method,miou,miou_half_width_95,params\na_b & <c>|d,0.512340,0.012300,1234567\n$x$,0.500000,,\n"
    )


def test_markdown_shows_names_as_they_are():
    assert tables.to_markdown(TABLE) == (
        "| Method | mIoU, % | Params, 10⁶ |\n"
        "| :-- | --: | --: |\n"
        "| a\\_b &amp; &lt;c>\\|d | **51.23 ±1.23** | 1.23 |\n"
        "| \\$x\\$ | 50.00 1 run | – |\n"
    )


def test_latex_is_booktabs_with_every_sign_escaped():
    assert tables.to_latex(TABLE) == (
        "% 50 % of_it\n"
        "\\begin{tabular}{lrr}\n"
        "\\toprule\n"
        "Method & mIoU, \\% & Params, 10$^6$ \\\\\n"
        "\\midrule\n"
        "a\\_b \\& \\textless{}c\\textgreater{}|d & \\textbf{51.23} {\\small $\\pm$1.23} & 1.23 \\\\\n"
        "\\$x\\$ & 50.00 {\\small 1 run} & -- \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
    )


def test_latex_math_has_one_backslash():
    titles = "Δ ± × · 10⁶ 10⁹ −"
    table = Table(name="t", caption="", columns=(Column(name="d", title=titles),), rows=())
    header = tables.to_latex(table).splitlines()[3]
    assert header == r"$\Delta$ $\pm$ $\times$ $\cdot$ 10$^6$ 10$^9$ $-$ \\"
    assert "\\\\" not in "".join(map(str, tables.LATEX.values()))


def test_constant_columns_are_told_once():
    columns = (Column(name="a", title="A"), Column(name="b", title="B"), Column(name="c", title="C"))
    rows = tuple(tuple(map(tables.text, row)) for row in ("x1k", "x2k"))
    shorter, said = tables.without_constants(
        Table(name="t", caption="", columns=columns, rows=rows), {"a", "b"}
    )
    assert [column.name for column in shorter.columns] == ["b", "c"]
    assert [[entry.text for entry in row] for row in shorter.rows] == [["1", "k"], ["2", "k"]]
    assert said == "a x"
    unknown = tables.without_constants(
        Table(name="t", caption="", columns=columns[:1], rows=((Entry(text="–"),),)), {"a"}
    )
    assert (unknown[0].columns, unknown[1]) == ((), "")


def test_a_table_without_rows_keeps_its_columns():
    empty = Table(name="t", caption="", columns=(Column(name="a", title="A"),), rows=())
    assert tables.without_constants(empty, {"a"}) == (empty, "")
    assert tables.to_csv(empty) == "a\n"


def test_unknown_stays_unknown():
    assert tables.percent(None) == Entry(text="–")
    assert tables.percent(0.0).text == "0.00"
    assert cells.measured(None).value is None
