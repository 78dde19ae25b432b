"""Annotation files are read safely and accounted for; the paths that annotations name lead nowhere else."""

import hashlib
import json
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.raw_files import DatasetError, RawFiles, inside
from shards.skips import SkipItem


@pytest.fixture
def files(tmp_path):
    (tmp_path / "list.json").write_text(json.dumps([{"id": number} for number in range(1000)]))
    return RawFiles(tmp_path)


def test_what_was_read_to_its_end_is_an_input_with_its_hash(files):
    data = (files.root / "list.json").read_bytes()
    assert next(files.elements("list.json")) == {"id": 0}
    assert files.inputs == []
    assert len(list(files.elements("list.json"))) == 1000
    (found,) = files.inputs
    assert (found.path, found.bytes, found.sha256) == ("list.json", len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("reading", ["json", "elements", "members", "text", "pickle"])
def test_a_file_that_is_not_there_is_named_with_a_remedy(files, reading):
    with pytest.raises(DatasetError, match=r"gone\.json does not exist: download it, or correct the root"):
        list(getattr(files, reading)("gone.json"))


def test_a_list_that_is_cut_is_named_with_a_remedy(files):
    path = files.root / "list.json"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DatasetError, match=r"list\.json is not JSON as it should be .*: download it again"):
        list(files.elements("list.json"))
    assert files.inputs == []


@pytest.mark.parametrize("change", ["grows", "is written again"])
def test_a_file_that_changes_while_it_is_read_is_refused(files, change):
    path = files.root / "list.json"
    path.write_bytes(b"[" + b",".join([b"1" * 1000] * 10_000) + b"]")  # longer than one read
    found = files.elements("list.json")
    next(found)
    if change == "grows":
        with path.open("ab") as file:
            file.write(b" ")
    else:
        os.utime(path, ns=(1, 1))
    with pytest.raises(DatasetError, match=r"list\.json changed while it was read: let its download end"):
        list(found)


@given(st.binary(max_size=60), st.sampled_from([b"", b"\x80\x02", b"]q\x00(", b"(lp0\n"]))
def test_any_pickle_is_plain_data_or_refused(tmp_path_factory, data, head):
    root = tmp_path_factory.getbasetemp()
    (root / "any.p").write_bytes(head + data)
    try:
        found = RawFiles(root).pickle("any.p")
    except DatasetError:
        return
    json.dumps(found)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_in_any_way(files, end):
    (files.root / "lines.txt").write_bytes(f"one{end}two{end}".encode())
    assert files.text("lines.txt") == "one\ntwo\n"


EXECUTES = [
    b"cos\nsystem\n(S'true'\ntR.",
    b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    b"(S'x'\nios\nsystem\n.",
]


@pytest.mark.parametrize("data", EXECUTES)
def test_a_pickle_that_would_run_something_is_refused(tmp_path, data):
    (tmp_path / "evil.p").write_bytes(data)
    with pytest.raises(DatasetError, match="which data does not need"):
        RawFiles(tmp_path).pickle("evil.p")


def test_a_pickle_that_holds_itself_is_refused(tmp_path):
    (tmp_path / "loop.p").write_bytes(b"]q\x00h\x00a.")
    with pytest.raises(DatasetError, match="is not a pickle of plain data"):
        RawFiles(tmp_path).pickle("loop.p")


def test_a_pickle_that_would_fill_the_memory_is_refused(tmp_path):
    value: list = [1]
    for _ in range(9):
        value = [value] * 10
    (tmp_path / "bomb.p").write_bytes(pickle.dumps(value, protocol=2))
    with pytest.raises(DatasetError, match="repeats its parts without end"):
        RawFiles(tmp_path).pickle("bomb.p")


@pytest.mark.parametrize("data", [b"\x80\x02]r\xff\xff\xff\x7f.", b"]p2000000000\n."])
def test_a_pickle_of_ten_bytes_takes_no_more_memory(tmp_path, data):
    (tmp_path / "table.p").write_bytes(data)
    with pytest.raises(DatasetError, match=r"it numbers a value 2\d+ in \d+ bytes"):
        RawFiles(tmp_path).pickle("table.p")


@given(st.recursive(st.text() | st.integers() | st.floats(allow_nan=False) | st.none() | st.booleans(), st.lists))
def test_honest_pickles_of_every_protocol_are_read(tmp_path_factory, value):
    root = tmp_path_factory.getbasetemp()
    for protocol in range(6):
        (root / "honest.p").write_bytes(pickle.dumps(value, protocol=protocol))
        assert RawFiles(root).pickle("honest.p") == value


def test_whatever_is_wrong_with_a_pickle_is_said_in_one_line(tmp_path):
    for data in (b"Pid\n.", b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\xff.", b""):
        (tmp_path / "odd.p").write_bytes(data)
        with pytest.raises(DatasetError) as error:
            RawFiles(tmp_path).pickle("odd.p")
        assert "\n" not in str(error.value)
        assert "()" not in str(error.value)


# ------------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(
    "path", ["../a.mp4", "b/../../a.mp4", "/a.mp4", "\\a.mp4", "b\\..\\..\\a.mp4", "a\0.mp4", ".."]
)
def test_a_path_that_climbs_out_is_unsafe(tmp_path, path):
    with pytest.raises(SkipItem) as skip:
        inside(tmp_path, path)
    assert skip.value.reason == "unsafe_path"


@pytest.fixture
def linked(tmp_path):
    """A root with links to places outside of it: a file, a folder of frames, one frame, a folder of the layout."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "videos").mkdir(parents=True)
    (outside / "frames").mkdir(parents=True)
    for name in ("secret.mp4", "frames/0.jpg"):
        (outside / name).write_bytes(b"secret")
    (root / "videos" / "secret.mp4").symlink_to(outside / "secret.mp4")
    (root / "videos" / "frames").symlink_to(outside / "frames")
    (root / "videos" / "own").mkdir()
    (root / "videos" / "own" / "0.jpg").symlink_to("../../../outside/frames/0.jpg")
    (root / "elsewhere").symlink_to(outside)
    return root


@pytest.mark.parametrize("path", ["secret.mp4", "frames", "frames/0.jpg", "own/0.jpg"])
def test_a_link_that_leads_out_is_unsafe(linked, path):
    with pytest.raises(SkipItem, match="is a link that leads out of the dataset's root: copy the file there") as skip:
        inside(linked, path, "videos")
    assert skip.value.reason == "unsafe_path"


def test_a_link_that_stays_within_the_root_is_fine(linked):
    (linked / "real.mp4").write_bytes(b"video")
    (linked / "videos" / "link.mp4").symlink_to("../real.mp4")
    assert inside(linked, "link.mp4", "videos").read_bytes() == b"video"


def test_the_users_own_links_are_followed_the_root_and_a_folder_of_the_layout(linked):
    root = linked.parent / "link-to-root"
    root.symlink_to(linked)
    assert inside(root, "secret.mp4", "elsewhere").read_bytes() == b"secret"
    (linked / "videos" / "a.mp4").write_bytes(b"video")
    assert inside(root, "a.mp4", "videos").read_bytes() == b"video"


def test_a_link_in_a_circle_is_no_crash(linked):
    (linked / "videos" / "a").symlink_to("b")
    (linked / "videos" / "b").symlink_to("a")
    assert not inside(linked, "a", "videos").exists()


# ------------------------------------------------------------------------------------------------- tables


def table(files, content: str, *columns: str, separator: str = ","):
    (files.root / "a.csv").write_bytes(content.encode())
    return list(files.table("a.csv", *columns, separator=separator))


def test_rows_are_read_by_column_whatever_their_order(files):
    rows = table(files, '\ufeffid, text\r\n1,"a, ""b""\r\nc"\r\n\r\n2,d\r\n', "text", "id")
    assert rows == [{"id": "1", "text": 'a, "b"\nc'}, {"id": "2", "text": "d"}]


def test_another_separator_may_be_named(files):
    assert table(files, "id\ttext\n1\ta, b\n", "id", separator="\t") == [{"id": "1", "text": "a, b"}]


def test_a_row_of_another_length_is_none_and_never_shortened(files):
    assert table(files, "id,text\n1,a,b\n2\n3,c\n") == [None, None, {"id": "3", "text": "c"}]


@pytest.mark.parametrize("content", ["", "id\n1\n", "id,text,text\n1,a,b\n"])
def test_a_column_that_is_not_once_there_is_named(files, content):
    with pytest.raises(DatasetError, match=r"a\.csv has the columns .*: '(id|text)' is not once there"):
        table(files, content, "id", "text")


@pytest.mark.parametrize("content", ['id\n"1\n2\n', 'id\n"1"2\n'])
def test_quotes_that_do_not_match_are_no_csv(files, content):
    with pytest.raises(DatasetError, match=r"a\.csv is not CSV"):
        table(files, content, "id")


@pytest.mark.parametrize("reading", ["json", "elements", "table", "text"])
@pytest.mark.parametrize("path", ["../a.json", "b/../../a.json", "/a.json"])
def test_an_annotation_file_that_an_item_names_may_not_climb_out(files, reading, path):
    (files.root.parent / "a.json").write_text("[]")
    with pytest.raises(SkipItem, match="leads out of the dataset's root"):
        list(getattr(files, reading)(path))
