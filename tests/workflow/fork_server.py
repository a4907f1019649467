"""Runs ``python -m MODULE ARGUMENTS`` in forks of one process that has imported Snakemake, which takes longer
than a dry run.

A command per line of standard input: JSON with module, arguments, working folder, environment and the files
for what it prints. A line of standard output for each: its exit code. This process imports nothing of seglib,
so that each command finds the one of its own folder.
"""

import json
import os
import runpy
import sys

from snakemake import cli


def main() -> None:
    cli.get_argument_parser()  # imports Snakemake's plugins
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(**json.loads(line))
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def run(module: str, arguments: list[str], folder: str, environment: dict, stdout: str, stderr: str) -> None:
    for number, path in enumerate((os.devnull, stdout, stderr)):
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:1] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
