"""Write the table of docs/licences.md: the licence of every locked library, as its own metadata states it.

With --check, only say whether the page is current (exit 1 if not): every library of the locks is in the table, what is
installed here has the licence that stands there, and what does not let everybody use, change and pass on as they like
is looked at by name. Needs no network. Leaves out what wheels carry inside them and the models, which the page tells by
hand; and what no Linux installs.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, distributions
from itertools import filterfalse
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "licences.md"
NO_LOCKS = ("supply.txt", "torch-overrides.txt")
"""The tools that look at the locks, and what is left out of them."""
LOCKS = sorted(lock for lock in (ROOT / "requirements").glob("*.txt") if lock.name not in NO_LOCKS)
ENVIRONMENTS = (".venv", ".venv-engine", ".venv-diarization")
BY_HAND = "\n## Looked at by name\n"
START, END = "<!-- written by make licences -->\n", "<!-- to here -->\n"

FREE = frozenset({
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "ISC", "LLVM-exception", "MIT", "MIT-0",
    "MIT-CMU", "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib",
})  # fmt: skip
"""To use, change and pass on for any purpose; MPL-2.0 asks for the changes to its own files alone."""
SPELLINGS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Permission is hereby granted, free of charge, to any person obtaining a copy": "MIT",
    "Python Software Foundation License": "PSF-2.0",
    "The MIT License (MIT)": "MIT",
}
"""How libraries call them that do not use SPDX's names; `BSD` is one of its kinds."""
NAMELESS = {"Dual License", "UNKNOWN", ""}


def locked(lock: Path) -> Iterator[str]:
    """The libraries of a lock that some Linux installs."""
    linux = {"sys_platform": "linux", "platform_system": "Linux"}
    for line in re.findall(r"^[A-Za-z0-9].*?(?= \\$)", lock.read_text("utf-8"), re.MULTILINE):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(linux):
            yield canonicalize_name(requirement.name)


def installed() -> dict[str, set[str]]:
    """The licences of what is installed in our environments: of all its versions, which may differ."""
    folders = (path for name in ENVIRONMENTS for path in (ROOT / name).glob("lib/python3*/site-packages"))
    licences = defaultdict[str, set[str]](set)
    for folder in folders:
        for found in distributions(path=[str(folder)]):
            licences[canonicalize_name(found.name)].add(licence(found))
    return licences


def licence(library: Distribution) -> str:
    """What a library says of its licence: in SPDX's words, in its own, by its classifiers, or by its licence's first line."""
    told = library.metadata
    stated = next(iter(told.get_all("License-Expression") or told.get_all("License") or [""])).strip()
    classified = [line.split("::")[-1].strip() for line in told.get_all("Classifier") or [] if "License ::" in line]
    named = [name for name in classified if name in SPELLINGS]
    if "\n" in stated or len(stated) > 60 or stated in NAMELESS:
        stated = " OR ".join(sorted({SPELLINGS[name] for name in named})) or _first_line(library)
    return SPELLINGS.get(stated, stated) or "none stated"


def _first_line(library: Distribution) -> str:
    """The first line of a licence in full, as far as it is known."""
    texts = [
        file.read_text("utf-8")
        for file in library.files or ()
        if ".dist-info" in file.parts[0] and re.search("licen[cs]e", file.name, re.IGNORECASE)
    ]
    first = [next(iter(text.split("\n"))).strip() for text in (text.lstrip() for text in texts)]
    return next((line for line in first if line in SPELLINGS), "")


def is_free(expression: str) -> bool:
    """Whether everybody may do with it as they like."""
    choices = [re.split(r" AND | WITH ", choice) for choice in re.sub("[()]", "", expression).split(" OR ")]
    return any(all(name in FREE or name == "BSD" for name in names) for names in choices)


def table(licences: Mapping[str, set[str]]) -> str:
    """The licences, each with its libraries."""
    by_licence = defaultdict[str, list[str]](list)
    for library, names in sorted(licences.items()):
        for name in names:
            by_licence[name].append(library)
    rows = [f"| {name} | {', '.join(libraries)} |\n" for name, libraries in sorted(by_licence.items())]
    return "".join(["| licence | libraries |\n", "|---|---|\n", *rows])


def stated(page: str) -> dict[str, set[str]]:
    """The licences on a page, by library."""
    licences = defaultdict[str, set[str]](set)
    for name, libraries in re.findall(r"^\| (.+?) \| (.+?) \|$", _generated(page), re.MULTILINE)[1:]:
        for library in libraries.split(", "):
            licences[library].add(name)
    return licences


def _generated(page: str) -> str:
    return page.partition(START)[2].partition(END)[0]


def faults(page: str, libraries: Iterable[str], here: Mapping[str, set[str]]) -> list[str]:
    """What is wrong with a page: with its table, and with the licences in it."""
    rows, wanted = stated(page), set(libraries)
    by_hand = set(re.findall("`(.+?)`", page.partition(BY_HAND)[2].partition("\n## ")[0]))
    bound = {library: names for library in rows if (names := sorted(filterfalse(is_free, rows[library])))}
    unsaid = {library: names for library in rows if (names := sorted(here.get(library, set()) - rows[library]))}
    return [
        *(f"{library} is missing" for library in sorted(wanted - rows.keys())),
        *(f"{library} is in no lock" for library in sorted(rows.keys() - wanted)),
        *(f"{library} is {', '.join(names)}" for library, names in unsaid.items()),
        *(
            f"{library} ({', '.join(bound[library])}) is not looked at by name"
            for library in sorted(bound.keys() - by_hand)
        ),
    ]


def main() -> None:
    """Write the table, or check it."""
    libraries = {library for lock in LOCKS for library in locked(lock)}
    here = {library: names for library, names in installed().items() if library in libraries}
    page = PAGE.read_text("utf-8")
    if "--check" not in sys.argv[1:]:
        rows = {library: names for library, names in stated(page).items() if library in libraries} | here
        head, tail = page.partition(START)[0], page.partition(END)[2]
        page = f"{head}{START}\n{table(rows)}\n{END}{tail}"
        PAGE.write_text(page, "utf-8")
    if wrong := faults(page, libraries, here):
        sys.exit(f"docs/licences.md is not current (make licences): {'; '.join(wrong)}.")


if __name__ == "__main__":
    main()
