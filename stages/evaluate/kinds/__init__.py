"""One file per kind of prepared data, named after it: what is measured there, by what a model can do, not by its name."""
