"""Images with a word in every place of the file that can hold one, and a search for it."""

from __future__ import annotations

import json
import zlib
from contextlib import suppress
from struct import pack
from typing import TYPE_CHECKING
from urllib.parse import quote

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from support.output_samples import encode_sample, sample_image

if TYPE_CHECKING:
    from collections.abc import Iterator

_DESCRIPTION, _MAKER, _ORIENTATION, _NAME = 0x010E, 0x010F, 0x0112, 0x9C9F
_USER_COMMENT, _MAKER_NOTE = 0x9286, 0x927C
_PLACE = 0x8825


def find_encodings(data: bytes, word: str) -> list[str]:
    """The encodings in which `word` is found in `data` or in its compressed parts."""
    texts = [data, *_inflated(data)]
    spelt = dict(_spellings(word))
    return [name for name, spelling in spelt.items() if any(spelling in text for text in texts)]


def write_secret(kind: str, word: str) -> bytes:
    """An image of this kind with the word in every known place."""
    makers = {"png": _png, "jpeg": _jpeg, "webp": _webp, "avif": _avif, "apng": _apng}
    return (makers | {"animation": _animation})[kind](word)


def exif(word: str = "", *, orientation: int = 1, place: bool = False) -> Image.Exif:
    """An EXIF block with the word where cameras and programs write text."""
    block = Image.Exif()
    block[_ORIENTATION] = orientation
    if word:
        block[_DESCRIPTION] = block[_MAKER] = word
        block[_NAME] = word.encode("utf-16-le")
        inner = block.get_ifd(0x8769)
        inner[_USER_COMMENT] = b"UNICODE\0" + word.encode("utf-16-be")
        inner[_MAKER_NOTE] = word.encode("utf-16-le") + word.encode()
    if place:
        block.get_ifd(_PLACE).update({1: "N", 2: (48.0, 51.0, 29.5), 29: "2025:11:21", 27: b"GPS!"})
    return block


def png_chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return pack(">I", len(content)) + kind + content + pack(">I", check)


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + pack(">H", len(content) + 2) + content


def riff_chunk(kind: bytes, content: bytes) -> bytes:
    return kind + pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def riff(chunks: bytes) -> bytes:
    return b"RIFF" + pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def xmp(word: str) -> bytes:
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><dc:d>{word}</dc:d></x:xmpmeta>'.encode()


def _spellings(word: str) -> Iterator[tuple[str, bytes]]:
    for encoding in ("utf-8", "latin-1", "utf-16-le", "utf-16-be"):
        yield encoding, word.encode(encoding, "replace")
    yield "json", json.dumps(word)[1:-1].encode()
    yield "json in json", json.dumps(json.dumps(word))[3:-3].encode()
    yield "url", quote(word).encode()
    yield "hex", word.encode().hex().encode()
    yield "xml", word.encode("ascii", "xmlcharrefreplace")


def _inflated(data: bytes) -> Iterator[bytes]:
    """Every part that is zlib-compressed."""
    at = data.find(b"\x78")
    while at >= 0:
        with suppress(zlib.error):
            yield zlib.decompressobj().decompress(data[at:])
        at = data.find(b"\x78", at + 1)


def _texts(word: str) -> PngInfo:
    graph = {"6": {"class_type": "CLIPTextEncode", "inputs": {"text": word}}}
    texts = PngInfo()
    texts.add_text("prompt", json.dumps(graph))
    texts.add_text("workflow", json.dumps({"nodes": [{"widgets_values": [word]}]}), zip=True)
    texts.add_itxt("Comment", word)
    texts.add_itxt("Description", word, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", xmp(word).decode())
    texts.add_text("Raw profile type exif", f"exif\n 9\n{word.encode().hex()}")
    texts.add_text("parameters", f"{word}\nSteps: 4, Seed: 7, Sampler: {word}, Size: 48x32")
    return texts


def _png(word: str) -> bytes:
    whole = encode_sample("PNG", pnginfo=_texts(word), exif=exif(word), icc_profile=b"p" * 200)
    more = png_chunk(b"prMp", word.encode()) + png_chunk(b"sPLT", word.encode() + b"\0\x08")
    return whole[:-12] + more + whole[-12:] + word.encode()


def _apng(word: str) -> bytes:
    second = sample_image().rotate(180)
    return encode_sample(
        "PNG", pnginfo=_texts(word), save_all=True, append_images=[second], duration=99
    )


def _jpeg(word: str) -> bytes:
    whole = encode_sample(
        "JPEG", exif=exif(word), icc_profile=b"p" * 200, progressive=True, xmp=xmp(word)
    )
    text = word.encode()
    before = (
        segment(0xFE, text)
        + segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04" + text)
        + segment(0xE0, b"JFXX\0\x10" + text)
        + segment(0xE2, b"FPXR\0" + text)
        + segment(0xE5, word.encode("utf-16-le"))
        + segment(0xEE, b"Ducky" + text)
    )
    last_scan = whole.rfind(b"\xff\xda")
    inner = segment(0xFE, text) + segment(0xE1, b"Exif\0\0" + text)
    return whole[:2] + before + whole[2:last_scan] + inner + whole[last_scan:] + text


def _webp(word: str) -> bytes:
    whole = encode_sample("WEBP", exif=exif(word), xmp=xmp(word), icc_profile=b"p" * 200)
    return riff(whole[12:] + riff_chunk(b"NOTE", word.encode())) + word.encode()


def _avif(word: str) -> bytes:
    whole = encode_sample("AVIF", exif=exif(word), xmp=xmp(word), icc_profile=b"p" * 200)
    note = word.encode()
    return whole + pack(">I", len(note) + 24) + b"uuid" + b"\1" * 16 + note


def _animation(word: str) -> bytes:
    second = sample_image().rotate(180)
    whole = encode_sample(
        "WEBP", save_all=True, append_images=[second], duration=9, exif=exif(word)
    )
    at = whole.index(b"ANMF")
    length = int.from_bytes(whole[at + 4 : at + 8], "little")
    frame = whole[at + 8 : at + 8 + length] + riff_chunk(b"NOTE", word.encode())
    return riff(whole[12:at] + riff_chunk(b"ANMF", frame) + whole[at + 8 + length + length % 2 :])
