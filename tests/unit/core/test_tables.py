from dataclasses import replace

from seglib.core import tables
from seglib.core.tables import Column, Entry, Table, millions, percent
from seglib.metrics.statistics import Interval

ROWS = (("a_b & <c>|d", Interval(0.51234, 0.0123, 3), 1234567), ("$x$", Interval(0.5, None, 1), None))
COLUMNS = (
    Column("method", "Method", lambda row: row[0]),
    Column("miou", "mIoU, %", lambda row: row[1], percent, interval=True, bold=lambda row: row is ROWS[0]),
    Column("params", "Params, 10⁶", lambda row: row[2], millions),
)
TABLE = Table("t", "50 % of_it", COLUMNS, ROWS)


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
    table = Table("t", "", [Column("d", titles, str)], [])
    header = tables.to_latex(table).splitlines()[3]
    assert header == r"$\Delta$ $\pm$ $\times$ $\cdot$ 10$^6$ 10$^9$ $-$ \\"
    assert "\\\\" not in "".join(map(str, tables.LATEX.values()))


def test_a_rule_sets_the_foot_apart():
    lines = tables.to_latex(replace(TABLE, foot=1)).splitlines()
    assert [number for number, line in enumerate(lines) if line == "\\midrule"] == [4, 6]


def test_a_terminal_gets_names_to_the_left_and_numbers_to_the_right():
    columns = (Column("a", "Name", lambda row: row[0]), Column("b", "N", lambda row: row[1], str))
    assert tables.to_text(Table("t", "", columns, [("类", 1), ("road", 10)])) == (
        "Name   N\n类     1\nroad  10"
    )


def test_the_page_says_constant_columns_once():
    columns = [
        Column("a", "A", lambda row: row[0], on_page="varies"),
        Column("b", "B", lambda row: row[1], on_page="varies"),
        Column("c", "C", lambda row: row[2]),
        Column("d", "D", lambda row: row[2], on_page="no"),
    ]
    shorter = tables.on_page(Table("t", "", columns, ["x1k", "x2k"]))
    assert [column.name for column in shorter.columns] == ["b", "c"]
    assert [[entry.text for entry in row] for row in shorter.entries] == [["1", "k"], ["2", "k"]]
    assert shorter.shared == "a x"
    unknown = tables.on_page(Table("t", "", [replace(columns[0], get=lambda row: None)], ["x"]))
    assert (unknown.columns, unknown.shared) == ([], "")


def test_a_table_without_rows_keeps_its_columns():
    empty = Table("t", "", [Column("a", "A", str, on_page="varies")], [])
    assert tables.on_page(empty) == empty
    assert tables.to_csv(empty) == "a\n"


def test_unknown_stays_unknown():
    for column in COLUMNS:
        assert column.entry((None, None, None)) == Entry(text="–")
    assert COLUMNS[2].entry(("", None, 0)).text == "0.00"


def test_an_entry_says_what_a_value_does_not():
    entry = Entry(text="2 of 3", value=2, link="cells/a.html")
    assert Column("runs", "Runs", lambda row: row, str).entry(entry) is entry


def test_a_csv_of_all_digits_gives_the_numbers_back():
    value = 0.1 + 0.2
    column = Column("x", "X", lambda row: row, percent)
    assert float(tables.to_csv(Table("t", "", [column], [value]), digits=None).split()[1]) == value


def test_differences_have_a_sign_unless_they_are_nothing():
    shown = [tables.points(x) for x in (0.0123, -0.0123, 0.00001, -0.00001)]
    assert shown == ["+1.23", "−1.23", "0.00", "0.00"]


def test_no_probability_is_certain():
    shown = [tables.probability(x) for x in (0.0, 0.004, 0.5, 0.99, 1.0)]
    assert shown == ["<0.01", "<0.01", "0.50", "0.99", ">0.99"]
