"""Take a person out of a gallery, out of the pages that name the person, and out of DVC's cache of all versions.

    people forget staff "Ada Lovelace"

What cannot be reached from here is named: DVC remotes, other clones, and videos that show the person.
"""

import sys

from stages.identification import forgetting
from stages.identification.galleries import Gallery
from stages.shared.project import argument_parser


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("gallery", help="the gallery's name")
    parser.add_argument("name", help="the person's name")
    arguments = parser.parse_args()
    try:
        gallery = Gallery.existing(arguments.gallery)
        person = gallery.person(arguments.name)
        with gallery.locked():
            shown = forgetting.forget_results(person.number)
            purged = forgetting.forget(gallery, person)
    except ValueError as error:
        sys.exit(str(error))
    print(f"{arguments.name} is forgotten: {purged.files} files of {gallery.path} deleted, and their copies in DVC's cache")
    for line in shown + forgetting.elsewhere(gallery, arguments.name, purged.objects):
        print(line)


if __name__ == "__main__":
    main()
