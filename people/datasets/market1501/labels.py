"""The 27 columns in which Market-1501's attributes are given out, as the twelve `ATTRIBUTES` and back.

A column holds 1 or 2 (no or yes, or the two classes in their order), `age` 1 to 4. Each colour has a column of its own: who
has none of a garment's colours wears `other`. Tables have one row per identity, named as photos name it ("0002"), in the file's
order.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.io

from people.records import ATTRIBUTES

GARMENTS = {"upper_colour": "up", "lower_colour": "down"}  # and what the names of its columns begin with
PLAIN = tuple(name for name in ATTRIBUTES if name not in GARMENTS)
COLUMNS = (*PLAIN, *(f"{prefix}{colour}" for garment, prefix in GARMENTS.items() for colour in ATTRIBUTES[garment][:-1]))
_STRUCT, _IDENTITY = "market_attribute", "image_index"
_HEADER = b"MATLAB 5.0 MAT-file, attributes of pedestrians".ljust(116)  # scipy's own holds the date: equal labels, equal bytes


def attributes(codes: pd.DataFrame, where: str) -> pd.DataFrame:
    """The twelve attributes as class names of the 27 columns, which are found by name; `where` names the file in errors."""
    _check(codes, where)
    classes = {name: [ATTRIBUTES[name][int(code) - 1] for code in codes[name]] for name in PLAIN}
    for garment, prefix in GARMENTS.items():
        *colours, other = ATTRIBUTES[garment]
        worn = codes[[f"{prefix}{colour}" for colour in colours]].to_numpy() == 2
        if (worn.sum(axis=1) > 1).any():
            who = codes.index[worn.sum(axis=1) > 1][0]
            both = " and ".join(f"{prefix}{colours[at]}" for at in np.flatnonzero(worn[codes.index.get_loc(who)]))
            raise ValueError(f"{where}: identity {who} has {both} at once, expected at most one colour; correct its row")
        classes[garment] = np.where(worn.any(axis=1), np.array(colours)[worn.argmax(axis=1)], other).tolist()
    return pd.DataFrame({name: classes[name] for name in ATTRIBUTES}, index=codes.index, dtype="str")


def _check(codes: pd.DataFrame, where: str) -> None:
    if lost := [name for name in COLUMNS if name not in codes]:
        raise ValueError(f"{where}: expected the columns {', '.join(COLUMNS)}, {', '.join(lost)} are missing; add them")
    if codes.index.has_duplicates:
        raise ValueError(f"{where}: identity {codes.index[codes.index.duplicated()][0]} has two rows; remove one of them")
    for name in COLUMNS:
        most = len(ATTRIBUTES.get(name, ("no", "yes")))
        for who, code in zip(codes.index, codes[name], strict=True):
            if code not in range(1, most + 1):
                raise ValueError(f"{where}: identity {who} has {name} {code}, expected a code of 1 to {most}; correct its row")


def codes(attributes: pd.DataFrame) -> pd.DataFrame:
    """The 27 columns that say the same as the twelve attributes."""
    plain = {name: [ATTRIBUTES[name].index(value) + 1 for value in attributes[name]] for name in PLAIN}
    colours = {
        f"{prefix}{colour}": (attributes[garment] == colour).to_numpy().astype(int) + 1
        for garment, prefix in GARMENTS.items()
        for colour in ATTRIBUTES[garment][:-1]
    }
    return pd.DataFrame({**plain, **colours}, index=attributes.index)


def read_csv(path: Path) -> pd.DataFrame:
    """The attributes of `annotations_train.csv`: a column `id` and the 27."""
    try:
        table = pd.read_csv(path)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: expected a table with a column id and 27 others, but {error}; fetch the file again"
        ) from None
    if "id" not in table:
        raise ValueError(f"{path}: expected a column id and {', '.join(COLUMNS)}, got {', '.join(table)}; correct the header")
    if not pd.api.types.is_integer_dtype(table["id"]):
        raise ValueError(f"{path}: expected whole numbers in the column id, got {table['id'].to_list()[:5]}; correct its rows")
    return attributes(table.assign(id=[f"{number:04d}" for number in table["id"]]).set_index("id"), str(path))


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write the attributes as `annotations_train.csv`."""
    numbers = [int(who) for who in table.index]
    codes(table).assign(id=numbers)[["id", *COLUMNS]].to_csv(path, index=False, lineterminator="\n")


def read_mat(path: Path) -> dict[str, pd.DataFrame]:
    """The attributes of `market_attribute.mat` by part, train and test, which list their fields in different orders."""
    wanted = f"the MATLAB struct {_STRUCT} with the parts train and test"
    try:
        content = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)
    except (ValueError, TypeError, OSError, NotImplementedError, scipy.io.matlab.MatReadError) as error:
        raise ValueError(f"{path}: expected {wanted}, but it cannot be read ({error}); fetch the file again") from None
    try:
        struct = content[_STRUCT]
        parts = {part: getattr(struct, part) for part in ("train", "test")}
        fields = {
            part: {name: np.atleast_1d(getattr(found, name)) for name in found._fieldnames} for part, found in parts.items()
        }
    except (KeyError, AttributeError) as error:
        raise ValueError(f"{path}: expected {wanted}, but {error}; fetch the file again") from None
    return {part: _of_fields(named, f"{path} ({part})") for part, named in fields.items()}


def _of_fields(fields: Mapping[str, np.ndarray], where: str) -> pd.DataFrame:
    if lost := [name for name in (*COLUMNS, _IDENTITY) if name not in fields]:
        raise ValueError(f"{where}: expected the field {lost[0]}, there are {', '.join(fields)}; fetch the file again")
    index = [f"{int(number):04d}" for number in fields[_IDENTITY]]
    return attributes(pd.DataFrame({name: fields[name] for name in COLUMNS}, index=index), where)


def write_mat(path: Path, train: pd.DataFrame, test: pd.DataFrame) -> None:
    """Write the attributes of both parts as `market_attribute.mat`."""
    parts = {}
    for part, table in (("train", train), ("test", test)):
        fields = codes(table).astype(float).to_dict("list")
        parts[part] = {**fields, _IDENTITY: np.array(table.index, dtype=object)}
    content = io.BytesIO()
    scipy.io.savemat(content, {_STRUCT: parts})
    path.write_bytes(_HEADER + content.getvalue()[len(_HEADER) :])
