"""Lists a dataset's official archive: number, size and digest of its files, those behind links included.

It runs in every `dvc repro`, for DVC does not look behind links; files that have not changed are not read again. What depends
on the archive runs again when the digest is another one.

python -m stages.archive casiab
"""

import json

from people.layouts import contents
from stages.shared.archives import hashing, link, listing, place
from stages.shared.project import argument, output


def main(key: str) -> None:
    folder = place(key, str(listing(key)))
    with hashing() as (known, run):
        facts = contents.of_archive(folder if folder.is_file() else link(key, folder), known, run)
    with output(listing(key)) as path:
        path.write_text(json.dumps(facts, indent=1) + "\n")
    print(f"{key}: {facts['file_count']} files, {facts['size_bytes']:,} bytes in {folder}")


if __name__ == "__main__":
    main(argument("dataset", __doc__))
