"""A fake sd-cli with the output and the pitfalls of the real one; needs no package.

    binary: [python, fake_sd_cli.py, WAY]

WAY is how it behaves. It writes its arguments, and for each start the port that is open while it
lives, into the working directory.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import time
import zlib
from pathlib import Path
from typing import TextIO

HELP = """stable-diffusion.cpp version {version}
Usage: sd-cli [options]

CLI Options:
  -o, --output <string>         path to write result image to
  --preview-path <string>       path to write preview image to (default: ./preview.png)
  --canny                       apply canny preprocessor (edge detection)
  -M, --mode                    run mode, one of [img_gen, vid_gen, upscale, convert, metadata], default: img_gen
  --preview                     preview method. must be one of the following [none, proj, tae, vae] (default: none)
  -h, --help                    show this help message and exit

Context Options:
  -m, --model <string>                     path to full model
  --clip_l <string>                        path to the clip-l text encoder
  --clip_g <string>                        path to the clip-g text encoder
  --t5xxl <string>                         path to the t5xxl text encoder
  --llm <string>                           path to the llm text encoder. For example: (qwenvl2.5 for qwen-image,
                                           mistral-small3.2 for flux2, ...)
  --diffusion-model <string>               path to the standalone diffusion model
  --vae <string>                           path to standalone vae model
  --taesd <string>                         path to taesd. Using Tiny AutoEncoder for fast decoding (low quality)
  --control-net <string>                   path to control net model
  --embd-dir <string>                      embeddings directory
  --lora-model-dir <string>                lora model directory
  --upscale-model <string>                 path to esrgan model.
  -t, --threads <int>                      number of threads to use during computation (default: -1)
  --offload-to-cpu                         place the weights in RAM to save VRAM
  --diffusion-fa                           use flash attention in the diffusion model only
  --type                                   weight type (examples: f32, f16, q4_0, q8_0, q2_K)

Generation Options:
  -p, --prompt <string>                    the prompt to render
  -n, --negative-prompt <string>           the negative prompt (default: "")
  -i, --init-img <string>                  path to the init image
  --mask <string>                          path to the mask image
  --control-image <string>                 path to control image, control net
  -H, --height <int>                       image height, in pixel space (default: 512)
  -W, --width <int>                        image width, in pixel space (default: 512)
  --steps <int>                            number of sample steps (default: 20)
  --clip-skip <int>                        ignore last layers of CLIP network
  -b, --batch-count <int>                  batch count
  --upscale-repeats <int>                  Run the ESRGAN upscaler this many times (default: 1)
  --cfg-scale <float>                      unconditional guidance scale: (default: 7.0)
  --guidance <float>                       distilled guidance scale (default: 3.5)
  --eta <float>                            noise multiplier
  --flow-shift <float>                     shift value for Flow models like SD3.x or WAN (default: auto)
  --strength <float>                       strength for noising/unnoising (default: 0.75)
  --control-strength <float>               strength to apply Control Net (default: 0.9)
  --disable-image-metadata                 do not embed generation metadata on image files
  --vae-tiling                             process vae in tiles to reduce memory usage
  -s, --seed                               RNG seed (default: 42, use random seed for < 0)
  --sampling-method                        sampling method, one of [euler, euler_a, heun, dpm2, dpm++2s_a, dpm++2m,
                                           dpm++2mv2, lcm, ddim_trailing] (default: euler for Flux/SD3/Wan, euler_a
                                           otherwise)
  --scheduler                              denoiser sigma scheduler, one of [discrete, karras, exponential, ays,
                                           simple], default: discrete
  -r, --ref-image                          reference image for Flux Kontext models (can be used multiple times)
"""  # noqa: E501 - as the program prints it
VERSION = "master-471-7010bb4, commit 7010bb4"
PROMPT_FILE = "  --prompt-file                            path to the file containing the prompt\n"
LIST_DEVICES = "  --list-devices                          list available ggml backend devices\n"
DEVICES = "CUDA0\tNVIDIA GeForce RTX 4090\nBLAS\tOpenBLAS\nCPU\tAMD Ryzen 9\n"
_BAR = 50


def main(way: str, arguments: list[str]) -> int:
    """Behave as `way` says; the exit status."""
    if arguments[:1] == ["--version"]:
        _say(f"stable-diffusion.cpp version {VERSION}" + "\n")
        return 0
    if arguments == ["--help"]:
        _say(_help(way) + "\n")
        return 0
    if arguments == ["--list-devices"]:
        _say(DEVICES)
        return 0
    with socket.create_server(("127.0.0.1", 0)) as alive:
        note = f"{alive.getsockname()[1]}\n"
        with Path("starts").open("a", encoding="utf-8") as file:
            file.write(note)
        Path("arguments").write_text("\0".join(arguments), encoding="utf-8")
        return Work(way, _read(arguments)).run()


def _help(way: str) -> str:
    whole = HELP.replace("{version}", VERSION)
    if way == "foreign":
        return "sd 1.0.0\n\nUsage: sd [OPTIONS] <FIND> <REPLACE_WITH>"
    if way == "old":
        return whole.replace("img_gen, vid_gen", "txt2img, img2img")
    lines = whole.splitlines(keepends=True)
    if way == "bare":
        lacking = ("--clip-skip", "--vae-tiling", "--preview", "--disable-image")
        return "".join(line for line in lines if not line.strip().startswith(lacking))
    return whole + {"files": PROMPT_FILE, "cards": LIST_DEVICES}.get(way, "")


_SHORT = {"-W": "--width", "-H": "--height"}
_ALONE = ("--canny", "--vae-tiling", "--offload-to-cpu", "--diffusion-fa")


def _read(arguments: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    rest = iter(arguments)
    for flag in rest:
        is_alone = flag in _ALONE or flag == "--disable-image-metadata"
        found[_SHORT.get(flag, flag)] = "" if is_alone else next(rest)
    return found


class Work:
    """One run, as its arguments ask for it."""

    def __init__(self, way: str, asked: dict[str, str]) -> None:
        self.way = way
        self.asked = asked
        self.steps = int(asked.get("--steps", "20"))
        self.count = int(asked.get("--batch-count", "1"))
        self.seed = int(asked.get("--seed", "42"))
        sides = (asked.get(name, "512") for name in ("--width", "--height"))
        self.width, self.height = (-(-int(side) // 64) * 64 for side in sides)

    def run(self) -> int:
        ended = getattr(self, f"_{self.way.replace('-', '_')}", lambda: None)()
        if ended is not None:
            return int(ended)
        if self.asked["--mode"] == "upscale":
            return self._enlarge()
        if self.asked.get("--prompt") == "":
            self._error("error: the following arguments are required: prompt")
            return 1
        self._load()
        for index in range(self.count):
            self._sample(index)
        return self._keep()

    def _rejected(self) -> int:
        self._error("error: invalid sample method nope")
        _say("Usage: sd-cli [options]" + "\n")
        return 1

    def _failed(self) -> int:
        self._load()
        self._error("diffusion model compute failed")
        self._error("generate failed")
        return 1

    def _memory(self) -> int:
        self._error("alloc_tensor_range: failed to allocate CUDA0 buffer of size 5368709120")
        return 1

    def _silent(self) -> int:
        return 1

    def _abort(self) -> int:
        what = "terminate called after throwing an instance of 'std::invalid_argument'"
        _say(f"{what}\n  what():  stoi\n", sys.stderr)
        os.abort()

    def _killed(self) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def _mute(self) -> None:
        """Loading a model is silent."""
        time.sleep(60)

    def _hushed(self) -> None:
        """Has closed its streams, and goes on."""
        os.close(1)
        os.close(2)
        time.sleep(60)

    def _stuck(self) -> None:
        """Has a child, and does not end when it is asked to."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            time.sleep(60)

    def _no_vae(self) -> None:
        self._log("WARN", "file /models/vae.safetensors not found")
        self._log("WARN", "loading vae from '/models/vae.safetensors' failed")

    def _no_lora(self) -> None:
        self._log("WARN", "can not found lora /models/loras/ink")

    def _load(self) -> None:
        self._log("INFO", "loading model from 'model.safetensors'")
        self._log("INFO", "Version: SD 1.x ")
        self._bar(722, 1130, "4.36GB/s")
        self._bar(1130, 1130, "953.20MB/s")

    def _sample(self, index: int) -> None:
        self._log("INFO", f"generating image: {index + 1}/{self.count} - seed {self.seed + index}")
        for step in range(1, self.steps + 1):
            self._wait()
            self._bar(200, 400, "3.10GB/s", "#")
            self._preview()
            self._bar(step, self.steps, "1.25it/s" if step % 2 else "3.15s/it")
        self._log("INFO", "sampling completed, taking 1.20s")

    def _wait(self) -> None:
        if self.way in ("slow", "stuck"):
            time.sleep(30)

    def _preview(self) -> None:
        path = self.asked.get("--preview-path")
        if path:
            data = png(8, 8, self.seed)
            Path(path).write_bytes(data[: len(data) // 2] if self.way == "half-preview" else data)

    def _keep(self) -> int:
        self._log("INFO", f"decoding {self.count} latents")
        self._bar(1, 1, "1.11it/s")
        self._log("INFO", "latent 1 decoded, taking 0.05s")
        self._log("INFO", "generate_image completed in 2.03s")
        output = Path(self.asked["--output"])
        for index in range(self.count):
            name = f"{output.stem}_{index}.png" if self.count > 1 else output.name
            self._write(output.with_name(name), index)
        return 1 if self.way == "none" else 0

    def _write(self, path: Path, index: int) -> None:
        is_kept = self.way != "none" and not (self.way == "fewer" and index == 1)
        if is_kept:
            data = png(self.width, self.height, self.seed + index)
            path.write_bytes(data[:-20] if self.way == "half" else data)
        told = "/etc/passwd" if self.way == "elsewhere" else path
        result = "success" if is_kept else "failure"
        self._log("INFO", f"save result image {index} to '{told}' ({result})")

    def _enlarge(self) -> int:
        if self.way == "not-enlarged":
            self._error("init model loader from file failed: '/models/up.pth'")
            self._error("new_upscaler_ctx failed")
        data = Path(self.asked["--init-img"]).read_bytes()
        width, height = struct.unpack(">II", data[16:24])
        factor = 4 ** int(self.asked.get("--upscale-repeats", "1"))
        self._bar(1, 2, "1.50it/s")
        self._bar(2, 2, "1.50it/s")
        Path(self.asked["--output"]).write_bytes(png(width * factor, height * factor, 1))
        self._log("INFO", f"save result image 0 to '{self.asked['--output']}' (success)")
        return 0

    def _log(self, level: str, text: str) -> None:
        mark = f"\x1b[34;1m[{level:5}]\x1b[0m" if self.way == "colour" else f"[{level:5}]"
        _say(f"{mark} {'stable-diffusion.cpp:212':24} - {text}" + "\n")

    def _error(self, text: str) -> None:
        _say(f"[ERROR] main.cpp:592  - {text}" + "\n", sys.stderr)

    def _bar(self, done: int, total: int, speed: str, sign: str = "=") -> None:
        length = _BAR * done // total
        bar = sign * (length - 1) + (">" if sign == "=" and length < _BAR else sign)
        end = "\n" if done == total else ""
        _say(f"\r  |{bar:{_BAR}}| {done}/{total} - {speed}\x1b[K{end}")


def _say(text: str, stream: TextIO | None = None) -> None:
    out = stream or sys.stdout
    out.write(text)
    out.flush()


def png(width: int, height: int, seed: int) -> bytes:
    """A plain image, whose color the seed decides."""
    colour = zlib.crc32(str(seed).encode()).to_bytes(4, "big")[:3]
    rows = (b"\0" + colour * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, chunks))


def _chunk(part: tuple[bytes, bytes]) -> bytes:
    name, data = part
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
