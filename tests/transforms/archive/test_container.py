from __future__ import annotations

from io import BytesIO

import fastavro
import pytest

from transforms.archive.container import AvroCodec, Container

SCHEMA = {"type": "record", "name": "R", "fields": [{"name": "text", "type": "string"}]}


def container(codec: AvroCodec, texts: list[str]) -> bytes:
    made = Container(SCHEMA, codec)
    for text in texts:
        out = BytesIO()
        fastavro.schemaless_writer(out, SCHEMA, {"text": text})
        made.add(out.getvalue())
    return made.finish()


@pytest.mark.parametrize("codec", AvroCodec)
@pytest.mark.parametrize("texts", [[], ["one"], [f"text {n}" * 100 for n in range(2_000)]])
def test_fastavro_reads_what_was_written(codec: AvroCodec, texts: list[str]) -> None:
    found = fastavro.reader(BytesIO(container(codec, texts)))
    assert found.codec == codec.value
    assert found.writer_schema == SCHEMA
    assert [record["text"] for record in found] == texts  # type: ignore[call-overload, index]  # records are dicts


def test_a_large_file_has_several_blocks() -> None:
    data = container(AvroCodec.NULL, ["x" * 100_000] * 10)
    assert sum(1 for _ in fastavro.block_reader(BytesIO(data))) > 1


@pytest.mark.parametrize("codec", [AvroCodec.DEFLATE, AvroCodec.ZSTANDARD])
def test_compression_makes_it_smaller(codec: AvroCodec) -> None:
    texts = ["the same text"] * 1_000
    assert len(container(codec, texts)) * 10 < len(container(AvroCodec.NULL, texts))


def test_counts_what_it_holds() -> None:
    made = Container(SCHEMA, AvroCodec.NULL)
    made.add(b"\x02a")
    made.add(b"\x04bc")
    assert (made.records, made.record_bytes) == (2, 5)
