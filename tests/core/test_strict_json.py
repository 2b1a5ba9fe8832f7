"""What is taken for JSON from others, and what is not."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperpi import strict_json
from hyperpi.errors import BadMessage

REFUSED = {
    "NaN": b'{"a":NaN}',
    "infinity": b'{"a":Infinity}',
    "minus infinity": b'{"a":-Infinity}',
    "a float beyond all floats": b'{"a":1e999}',
    "a key twice": b'{"a":1,"a":1}',
    "a key twice, deeper": b'{"b":[{"a":1,"a":2}]}',
    "the same key, once escaped": b'{"a":1,"\\u0061":2}',
    "a lone high surrogate": b'{"a":"\\ud800"}',
    "a lone low surrogate": b'{"a":"\\udc00"}',
    "a lone surrogate in a key": b'{"\\uD800":1}',
    "two surrogates in the wrong order": b'{"a":"\\udc00\\ud800"}',
    "a thousand deep": b"[" * 1_000 + b"]" * 1_000,
    "a hundred thousand deep": b"[" * 100_000 + b"]" * 100_000,
    "a thousand objects deep": b'{"a":' * 1_000 + b"1" + b"}" * 1_000,
    "an integer of a thousand digits": b'{"a":' + b"9" * 1_000 + b"}",
    "a negative one": b'{"a":-' + b"9" * 1_000 + b"}",
    "bytes that are no UTF-8": b'{"a":"\xff"}',
    "a raw surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "a line break in a string": b'{"a":"\n"}',
    "two documents": b"{}{}",
    "nothing": b"",
    "half of it": b'{"a":',
    "a comment": b"{/* */}",
    "a byte order mark": b"\xef\xbb\xbf{}",
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_with_one_line(raw):
    with pytest.raises(BadMessage) as caught:
        strict_json.loads(raw)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text",
    [
        '{"a":"\\ud83d\\ude00"}',
        '{"brackets in a string":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}',
        '{"a quote":"\\"[[", "b":[1,2.5,-3e2,true,null]}',
        '{"big":18446744073709551615}',
        "[" * 60 + "]" * 60,
        '{"the text \\\\ud800 is no surrogate":1}',
    ],
)
def test_what_is_good_passes_unchanged(text):
    assert strict_json.loads(text) == json.loads(text)
    assert strict_json.loads(text.encode()) == json.loads(text)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_what_we_encode_is_taken_and_means_the_same(value):
    assert strict_json.loads(strict_json.encode(value)) == value


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(raw):
    with contextlib.suppress(BadMessage):
        strict_json.loads(raw)


@pytest.mark.parametrize(
    "raw",
    [b'"' + b"\\" * 400_000, b'"' * 500_000, b"[" * 1_000_000, b'{"a":"' + b"\\u0041" * 150_000 + b'"}'],
)
@pytest.mark.timeout(20)  # what is quadratic in it would take minutes
def test_a_megabyte_made_to_be_slow_is_refused_or_read(raw):
    try:
        assert strict_json.loads(raw)
    except BadMessage as refused:
        assert str(refused)  # noqa: PT017  either is fine, hanging is not


def test_a_typed_document_names_what_is_wrong_in_it():
    with pytest.raises(BadMessage, match=r"\[1\]"):
        strict_json.decode(b'["a",2]', list[str])
