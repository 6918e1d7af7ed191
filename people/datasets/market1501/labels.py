"""Label files of Market-1501: 27 columns of codes, converted to the twelve `ATTRIBUTES` and back.

A column holds 1 or 2 (no or yes, or the two classes in their order), `age` 1 to 4. Each colour has a column of its own: a
garment without any of them is `other`. Tables have one row per identity, named as photos name it ("0002"), in the file's
order.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import scipy  # its parts are imported at their first use

from people.layouts import files, matlab
from people.records import ATTRIBUTES

GARMENTS = {"upper_colour": "up", "lower_colour": "down"}  # and the prefix of their columns
SINGLE_COLUMN = tuple(name for name in ATTRIBUTES if name not in GARMENTS)
COLUMNS = (
    *SINGLE_COLUMN,
    *(f"{prefix}{colour}" for garment, prefix in GARMENTS.items() for colour in ATTRIBUTES[garment][:-1]),
)
_STRUCT, _IDENTITY = "market_attribute", "image_index"
# without the date of scipy's header, so that equal labels are equal bytes
_HEADER = b"MATLAB 5.0 MAT-file, attributes of pedestrians".ljust(116)


def attributes(codes: pd.DataFrame, where: str) -> pd.DataFrame:
    """The twelve attributes as class names of the 27 columns, which are found by name; `where` names the file in errors."""
    _check_codes(codes, where)
    classes = {name: [ATTRIBUTES[name][int(code) - 1] for code in codes[name]] for name in SINGLE_COLUMN}
    for garment, prefix in GARMENTS.items():
        *colours, other_colour = ATTRIBUTES[garment]
        is_colour = codes[[f"{prefix}{colour}" for colour in colours]].to_numpy() == 2
        if (is_colour.sum(axis=1) > 1).any():
            identity = codes.index[is_colour.sum(axis=1) > 1][0]
            columns = np.flatnonzero(is_colour[codes.index.get_loc(identity)])
            names = " and ".join(f"{prefix}{colours[column]}" for column in columns)
            raise ValueError(f"{where}: identity {identity} has {names} at once, expected at most one colour; correct its row")
        classes[garment] = np.where(is_colour.any(axis=1), np.array(colours)[is_colour.argmax(axis=1)], other_colour).tolist()
    return pd.DataFrame({name: classes[name] for name in ATTRIBUTES}, index=codes.index, dtype="str")


def _check_codes(codes: pd.DataFrame, where: str) -> None:
    if missing := [name for name in COLUMNS if name not in codes]:
        raise ValueError(f"{where}: expected the columns {', '.join(COLUMNS)}, {', '.join(missing)} are missing; add them")
    if codes.index.has_duplicates:
        raise ValueError(f"{where}: identity {codes.index[codes.index.duplicated()][0]} has two rows; remove one of them")
    for name in COLUMNS:
        classes = len(ATTRIBUTES.get(name, ("no", "yes")))
        for identity, code in zip(codes.index, codes[name], strict=True):
            if code not in range(1, classes + 1):
                raise ValueError(
                    f"{where}: identity {identity} has {name} {code}, expected a code of 1 to {classes}; correct its row"
                )


def codes(attributes: pd.DataFrame) -> pd.DataFrame:
    """The 27 columns of codes of the twelve attributes."""
    single = {name: [ATTRIBUTES[name].index(value) + 1 for value in attributes[name]] for name in SINGLE_COLUMN}
    colours = {
        f"{prefix}{colour}": (attributes[garment] == colour).to_numpy().astype(int) + 1
        for garment, prefix in GARMENTS.items()
        for colour in ATTRIBUTES[garment][:-1]
    }
    return pd.DataFrame({**single, **colours}, index=attributes.index)


def read_csv(path: Path) -> pd.DataFrame:
    """The attributes of `annotations_train.csv`: a column `id` and the 27."""
    table = files.read_csv(path.read_bytes(), str(path), "a table with a column id and 27 others")
    if "id" not in table:
        raise ValueError(f"{path}: expected a column id and {', '.join(COLUMNS)}, got {', '.join(table)}; correct the header")
    if not pd.api.types.is_integer_dtype(table["id"]):
        raise ValueError(f"{path}: expected whole numbers in the column id, got {table['id'].to_list()[:5]}; correct its rows")
    return attributes(table.assign(id=[f"{number:04d}" for number in table["id"]]).set_index("id"), str(path))


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write the attributes as `annotations_train.csv`."""
    numbers = [int(identity) for identity in table.index]
    codes(table).assign(id=numbers)[["id", *COLUMNS]].to_csv(path, index=False, lineterminator="\n")


def read_mat(path: Path) -> dict[str, pd.DataFrame]:
    """The attributes of `market_attribute.mat` of train and of test, which list their fields in different orders."""
    expected = f"the MATLAB struct {_STRUCT} with the parts train and test"
    content = matlab.read(path, expected, squeeze_me=True, struct_as_record=False)
    try:
        struct = content[_STRUCT]
        structs = {subset: getattr(struct, subset) for subset in ("train", "test")}
        fields = {
            subset: {name: np.atleast_1d(getattr(inner, name)) for name in inner._fieldnames}
            for subset, inner in structs.items()
        }
    except (KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: expected {expected}, but {error}; fetch the file again") from None
    return {subset: _table(columns, f"{path} ({subset})") for subset, columns in fields.items()}


def _table(fields: Mapping[str, np.ndarray], where: str) -> pd.DataFrame:
    if missing := [name for name in (*COLUMNS, _IDENTITY) if name not in fields]:
        raise ValueError(f"{where}: expected the field {missing[0]}, there are {', '.join(fields)}; fetch the file again")
    try:
        index = [f"{int(number):04d}" for number in fields[_IDENTITY]]
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{where}: expected numbers of identities in {_IDENTITY}, but {error}; fetch the file again") from None
    for name in COLUMNS:
        if fields[name].shape != (len(index),) or fields[name].dtype.kind not in "iuf":
            raise ValueError(
                f"{where}: expected a number for each of the {len(index)} identities in the field {name}, got "
                f"{fields[name].dtype} of shape {fields[name].shape}; fetch the file again"
            )
    return attributes(pd.DataFrame({name: fields[name] for name in COLUMNS}, index=index), where)


def write_mat(path: Path, train: pd.DataFrame, test: pd.DataFrame) -> None:
    """Write the attributes of train and test as `market_attribute.mat`."""
    subsets = {}
    for subset, table in (("train", train), ("test", test)):
        fields = codes(table).astype(float).to_dict("list")
        subsets[subset] = {**fields, _IDENTITY: np.array(table.index, dtype=object)}
    content = io.BytesIO()
    scipy.io.savemat(content, {_STRUCT: subsets})
    path.write_bytes(_HEADER + content.getvalue()[len(_HEADER) :])
