"""The command line of `python -m pipelines.*`: what is wrong with it is one line, as everywhere else."""

from __future__ import annotations

import argparse

from stages.settings import InputError


class Parser(argparse.ArgumentParser):
    def __init__(self, **settings):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> None:
        raise InputError(f"{message}; {self.prog} --help says what is allowed")


def at_least(low: int):
    def number(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f"{text} is out of range; allowed: at least {low}")
        return value

    number.__name__ = "whole number"
    return number
