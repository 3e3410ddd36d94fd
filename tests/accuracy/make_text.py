#!/usr/bin/env python3
"""Makes text.txt: the opening chapters of Jane Austen's Persuasion (1817, public domain), real prose for accuracy figures.

Source: Debian package r-cran-janeaustenr 1.0.0-1, which holds the Project Gutenberg text as an R character vector.
Usage, on Debian 12:  apt-get download r-cran-janeaustenr && dpkg -x r-cran-janeaustenr_1.0.0-1_all.deb DIR && make_text.py DIR
"""
import pathlib
import struct
import sys
import zlib

BOOK, FIRST_LINE, SIZE = b"PERSUASION", "Chapter 1", 60_000
DATA = "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"


def records(data):
    """An .rdb file is a row of: length of the plain form (4 bytes, big endian), zlib stream."""
    at = 0
    while at < len(data):
        stream = zlib.decompressobj()
        yield stream.decompress(data[at + 4:])
        at = len(data) - len(stream.unused_data)


def lines_of(record):
    """The strings of a serialized R character vector: each is a type word 0x00040009, a length, the bytes."""
    at = record.index(b"\0\4\0\x09")
    while record[at:at + 4] == b"\0\4\0\x09":
        (length,) = struct.unpack(">i", record[at + 4:at + 8])
        yield record[at + 8:at + 8 + length].decode("utf-8")
        at += 8 + length


def main():
    book = next(r for r in records((pathlib.Path(sys.argv[1]) / DATA).read_bytes()) if BOOK in r[:200].upper())
    lines = list(lines_of(book))
    text = "\n".join(lines[lines.index(FIRST_LINE) + 1:]).strip()
    end = text.index("\n\n", SIZE)
    pathlib.Path(__file__).with_name("text.txt").write_text(text[:end] + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
