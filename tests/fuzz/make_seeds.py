#!/usr/bin/env python3
"""Writes the seeds of the fuzz harnesses: small files of every kind, whole and damaged.

    tests/fuzz/make_seeds.py    writes tests/fuzz/seeds/HARNESS/NAME anew
"""
import gzip
import json
import pathlib
import shutil
import struct
import zlib

seeds = pathlib.Path(__file__).parent / "seeds"


def write(harness, files):
    directory = seeds / harness
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for name, contents in files.items():
        (directory / name).write_bytes(contents if isinstance(contents, bytes) else contents.encode())


# ---- safetensors --------------------------------------------------------------------------------


def with_header(text, data=b"", length=None):
    header = text.replace("Infinity", "1e400").encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def tensors(entries, data=b"", metadata=None):
    header = {"__metadata__": metadata} if metadata is not None else {}
    for name, dtype, shape, begin, end in entries:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    return with_header(json.dumps(header), data)


def safetensors_seeds():
    sizes = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I8": 1, "I16": 2, "I32": 4, "I64": 8, "U8": 1,
             "U16": 2, "U32": 4, "U64": 8, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}
    files = {f"dtype_{dtype}": tensors([("a", dtype, [2, 1], 0, 2 * size)], b"\1\0" * size)
             for dtype, size in sizes.items()}
    two = struct.pack("<2f", 1.5, -2)
    entry = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    files |= {
        "empty": with_header("{}"),
        "scalar": tensors([("a", "F32", [], 0, 4)], two[:4]),
        "scalar_I64": tensors([("steps", "I64", [], 0, 8)], struct.pack("<q", -3)),
        "no_values": tensors([("a", "F32", [0, 3], 0, 0)]),
        "two_tensors": tensors([("a", "F32", [1], 4, 8), ("b", "F32", [1, 1], 0, 4)], two),
        "six_axes": tensors([("a", "F32", [1, 2, 1, 1, 1, 1], 0, 8)], two),
        "nine_axes": tensors([("a", "F32", [1] * 8 + [2], 0, 8)], two),
        "not_finite": tensors([("a", "F64", [3], 0, 24)],
                              struct.pack("<2d", float("inf"), 1e300) + b"\1\0\0\0\0\0\xf0\x7f"),
        "metadata": tensors([], metadata={"experiment": "x", "\u00fc\n": "\u2028\"\\"}),
        "metadata_of_numbers": tensors([], metadata={"epoch": 3}),
        "padded": with_header("{}" + " " * 6),
        "names": tensors([("\x1b[31m\n\u202e", "F32", [2], 0, 8), ("", "F32", [0], 8, 8)], two),
        "huge_length": with_header("{}", length=2**63 + 5),
        "long_length": with_header("{}", length=3),
        "too_short": b"\2\0\0\0",
        "nested_arrays": with_header("[" * 1500 + "]" * 500),
        "nested_objects": with_header('{"a":' * 300),
        "twice": with_header(f'{{"a":{entry},"a":{entry}}}', two[:4]),
        "overlap": tensors([("a", "F32", [1], 0, 4), ("b", "F32", [1], 2, 6)], two),
        "hole": tensors([("a", "F32", [1], 0, 4), ("b", "F32", [0], 8, 8)], two),
        "trailing": tensors([("a", "F32", [1], 0, 4)], two),
        "backwards": tensors([("a", "F32", [1], 8, 4)], two),
        "beyond": tensors([("a", "F32", [2**40], 0, 2**42)], two),
        "overflow": tensors([("a", "F32", [2**32, 2**32], 0, 0)]),
        "negative": tensors([("a", "F32", [-1], 0, 4)], two[:4]),
        "fractions": tensors([("a", "F32", [1.5], 0, 4e400)], two[:4]),
        "not_utf8": with_header(b'{"\xff":1}'),
    }
    write("safetensors", files)


# ---- idx and gzip -------------------------------------------------------------------------------


def idx(count, height, width, magic=0x803, pixels=None):
    size = count * height * width if pixels is None else pixels
    return struct.pack(">4I", magic, count, height, width) + bytes(i % 251 for i in range(size))


def idx_labels(labels, count=None, magic=0x801):
    return struct.pack(">2I", magic, len(labels) if count is None else count) + bytes(labels)


def packed(contents, level=9):
    return gzip.compress(contents, level, mtime=0)


def idx_seeds():
    file = idx(2, 3, 4)
    whole = packed(file)
    files = {
        "raw": file,
        "one_pixel": idx(1, 1, 1),
        "no_images": idx(0, 28, 28),
        "labels": idx_labels([7, 0, 9]),
        "labels_none": idx_labels([]),
        "labels_gzip": packed(idx_labels([1, 2, 3] * 20)),
        "labels_out_of_range": idx_labels([7, 10]),
        "labels_short": idx_labels([7, 0], count=3),
        "labels_huge": idx_labels([7, 0], count=2**32 - 1),
        "labels_trailing": idx_labels([7, 0], count=1),
        "images_as_labels": idx(2, 3, 1, magic=0x801),
        "colour": idx(2, 3, 4, magic=0x804),
        "no_height": idx(1, 0, 4),
        "wide": idx(1, 1, 65536, pixels=20),
        "short_header": file[:15],
        "short_pixels": file[:-1],
        "trailing": file + b"\0",
        "huge": idx(2**32 - 1, 65535, 65535, pixels=8),
        "gzip": whole,
        "gzip_stored": packed(file, 0),
        "gzip_of_zeros": packed(idx(3, 28, 28, pixels=0) + bytes(3 * 28 * 28)),
        "gzip_named": whole[:3] + b"\x08" + whole[4:10] + b"images\0" + whole[10:],
        "gzip_two_members": packed(file[:20]) + packed(file[20:]),
        "gzip_empty_member": whole + packed(b""),
        "gzip_trailing": whole + b"more",
        "gzip_zeros_after": whole + bytes(16),
        "gzip_short": whole[:-9],
        "gzip_no_checksum": whole[:-8],
        "gzip_wrong_checksum": whole[:-8] + b"\0\0\0\0" + whole[-4:],
        "gzip_wrong_block": whole[:10] + b"\x07" + whole[11:],
        "gzip_header_only": whole[:10],
        "gzip_huge": packed(idx(2**20, 28, 28, pixels=8)),
    }
    write("idx", files)


# ---- PNG ----------------------------------------------------------------------------------------


def chunk(kind, contents, checksum=None):
    crc = zlib.crc32(kind + contents) if checksum is None else checksum
    return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", crc)


def png(color, side=2, bits=8, more=b"", interlaced=0, rows=None, header_side=None, checksum=None):
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    row = (side * channels * bits + 7) // 8
    if rows is None:
        rows = b"".join(bytes([y % 5]) + bytes(7 * (x + y) % 251 for x in range(row))
                        for y in range(side))
    claimed = side if header_side is None else header_side
    palette = chunk(b"PLTE", bytes(range(6))) if color == 3 else b""
    return (b"\x89PNG\r\n\x1a\n" +
            chunk(b"IHDR", struct.pack(">2I5B", claimed, claimed, bits, color, 0, 0, interlaced)) +
            more + palette + chunk(b"IDAT", zlib.compress(rows), checksum) + chunk(b"IEND", b""))


def png_seeds():
    gray = png(0)
    bomb = zlib.compress(b"x" * 100_000)
    files = {
        "gray": gray,
        "gray_4bit": png(0, bits=4),
        "gray_16bit": png(0, bits=16),
        "rgb": png(2, side=4),
        "rgb_16bit": png(2, bits=16),
        "palette": png(3),
        "gray_alpha": png(4),
        "rgb_alpha": png(6),
        "interlaced": png(2, interlaced=1, rows=bytes(3 * 4 + 3)),
        "gamma": png(0, more=chunk(b"gAMA", struct.pack(">I", 45455))),
        "transparent": png(2, more=chunk(b"tRNS", bytes(6))),
        "text": png(0, more=chunk(b"tEXt", b"Comment\0\x1b[31m")),
        "packed_text": png(0, more=chunk(b"zTXt", b"Comment\0\0" + bomb)),
        "huge_text": png(0, more=struct.pack(">I", 2**30) + b"zTXtComment\0\0"),
        "profile": png(2, more=chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(132)))),
        "unknown_critical": png(0, more=chunk(b"ABCD", b"x")),
        "tall": png(0, header_side=60000),
        "huge": png(2, header_side=2**31 - 1),
        "no_side": png(0, header_side=0),
        "short_rows": png(2, side=4, rows=b"\0" * 20),
        "wrong_filter": png(0, rows=b"\x09ab\x09cd"),
        "wrong_checksum": png(0, checksum=1),
        "truncated": gray[:-20],
        "no_end": gray[:-12],
        "signature": gray[:8],
        "trailing": gray + b"more",
    }
    write("png", files)


# ---- tar ----------------------------------------------------------------------------------------


def member(name, contents=b"", kind=b"0", prefix=b"", size=None, checksum=None,
           magic=b"ustar\00000"):
    header = bytearray(512)
    header[0:len(name[:100])] = name[:100]
    header[100:108] = b"0000644\0"
    field = b"%011o\0" % len(contents) if size is None else size
    header[124:124 + len(field)] = field
    header[148:156] = b" " * 8
    header[156:157] = kind
    header[257:257 + len(magic)] = magic
    header[345:345 + len(prefix)] = prefix
    header[148:156] = b"%06o\0 " % (sum(header) if checksum is None else checksum)
    return bytes(header) + contents + bytes(-len(contents) % 512)


def record(key, value):
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + 1
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body


def tar_seeds():
    end = bytes(512)
    gray, rgb = png(0), png(2, side=4)
    file = member(b"b.png", b"x") + end
    pax = member(b"pax", record(b"mtime", b"1") + record(b"path", b"\x1b[31m\n\xff.png"), b"x")
    files = {
        "empty": end,
        "gray_pictures": member(b"a.png", gray) + end,
        "rgb_pictures": member(b"a.png", rgb) + end,
        "other_kind": member(b"a.png", png(3)) + end,
        "directory": member(b"d/", kind=b"5") + member(b"d/.a.png", b"x") + end,
        "links": member(b"a.png", kind=b"1") + member(b"b.png", kind=b"2") + end,
        "old": member(b"a.png", b"x", kind=b"\0", magic=b"") + end,
        "prefix": member(b"a.png", b"x", prefix=b"some/where") + end,
        "long_name": member(b"././@LongLink", b"n" * 120 + b".png\0", b"L") + file,
        "long_name_alone": member(b"././@LongLink", b"name\0", b"L") + end,
        "pax_control_characters": pax + file,
        "pax_size": member(b"pax", record(b"size", b"99999999999"), b"x") + file,
        "pax_wrong_length": member(b"pax", b"99 path=a.png\n", b"x") + file,
        "pax_no_length": member(b"pax", b"0 path=a.png\n-5 path=b\n", b"x") + file,
        "pax_global": member(b"pax", record(b"path", b"g.png"), b"g") + file,
        "name_control_characters": member(b"\x1b[31m\n\xff.png", b"x") + end,
        "truncated_member": member(b"a.png", b"x", size=b"00000002000\0") + end,
        "truncated_header": member(b"a.png")[:300],
        "no_end": member(b"a.png", b"x"),
        "huge_size": member(b"a.png", size=b"777777777777") + end,
        "binary_size": member(b"a.png", size=b"\x80" + b"\xff" * 11) + end,
        "wrong_size": member(b"a.png", size=b"12x") + end,
        "huge_name": member(b"a", size=b"00000200001\0", kind=b"x") + end,
        "wrong_checksum": member(b"a.png", checksum=1) + end,
        "gzip": packed(file),
        "bzip2": b"BZh91AY&SY" + bytes(502),
    }
    write("tar", files)


# ---- configuration and metadata -----------------------------------------------------------------

config = {
    "experiment": "selfnorm_fc_mnist", "dataset": "mnist", "augment": "none", "architecture": "fc",
    "layer": "self_normalizing", "num_layers": 2, "num_blocks": 3, "block_size": 3, "width": 512,
    "kernel_size": 3, "activation": "smooth_leaky_relu", "alpha": 0.3, "init": "identity",
    "recon_weight": 1.0, "recon_symmetric": False, "recon_only_R": False, "geco_rate": 0.0,
    "geco_decay": 0.9, "logit_alpha": 1e-06, "lr": 0.0001, "warmup_epochs": 10.0, "adam_beta1": 0.9,
    "adam_beta2": 0.999, "max_grad_norm": 0.0, "batch_size": 100, "epochs": 10, "limit_batches": 0,
    "shuffle": True, "seed": 0
}


def with_fields(**fields):
    return json.dumps(config | fields).replace("Infinity", "1e400")


def config_seeds():
    glow = {"dataset": "cifar10", "augment": "flip_shift", "architecture": "glow", "layer": "conv1x1",
            "activation": "spline", "init": "orthogonal", "geco_rate": 1e-3}
    files = {
        "defaults": json.dumps(config, indent=2),
        "empty": "{}",
        "glow": with_fields(**glow),
        "cnn": with_fields(architecture="cnn", layer="emerging", activation="learnable_leaky_relu"),
        "as_text": json.dumps({key: str(value).lower() for key, value in config.items()}),
        "extra_members": with_fields(version=[1, {"a": None}]),
        "nested": '{"seed":' + "[" * 1000 + "]" * 1000 + "}",
        "nested_objects": '{"a":' * 300 + "1" + "}" * 300,
        "huge_numbers": with_fields(seed=2**63, epochs=1e400, lr=1e-320),
        "wrong_types": with_fields(seed="x", shuffle=3, lr=None, layer=[]),
        "negative": with_fields(seed=-1, lr=-0.0),
        "control_characters": with_fields(experiment="\x1b[31m\n\0\u202e", layer="\x07"),
        "not_utf8": b'{"experiment": "\xff\xfe"}',
        "twice": '{"seed": 1, "seed": 2}',
        "truncated": json.dumps(config)[:-30],
        "no_object": "[1, 2]",
        "assignments": "".join(f"{key}={value}\n" for key, value in glow.items()),
        "sensible": "lr=1e-3\nepochs=7\nshuffle=false\nseed=9223372036854775807\n",
        "unknown_key": b"laier\xff=exact\n",
        "experiment": "experiment=x\n",
        "not_utf8_text": b"layer=\xff\x1b[31m\n",
    }
    # What is refused ends the list: so these are alone.
    for name, line in {"hexadecimal": "lr=0x10", "space": "seed= 5", "plus": "epochs=+5",
                       "unsigned": "width=18446744073709551615", "nan": "recon_weight=nan",
                       "infinity": "geco_rate=inf", "beyond": "max_grad_norm=1e999",
                       "denormal": "lr=1e-310", "fraction": "seed=1e3", "yes": "shuffle=yes",
                       "one": "adam_beta1=1", "no_key": "=", "no_value": "lr="}.items():
        files["number_" + name] = line + "\n"
    write("config", files)


def lines(**changes):
    small = {"experiment": "selfnorm_fc_mnist", "config": json.dumps(config), "channels": 1,
             "height": 2, "width": 2, "optimizer_steps": 5, "epoch": 3, "batch": 1,
             "objective_sum": 0.30000000000000004, "reconstruction_sum": 1e-300, "best_epoch": 2,
             "best_nll": -0.333, "best_test_nll": 12345.678901234567, "data_checksum": 4294967295}
    merged = small | {key.replace("__", "."): value for key, value in changes.items()}
    return "".join(f"{key}={value}\n" for key, value in merged.items() if value is not None)


def metadata_seeds():
    files = {
        "whole": lines(),
        "uneven_steps": lines(optimizer_steps__4__weight_inv=3),
        "foreign": "format=pt\n",
        "no_config": lines(config=None),
        "no_steps": lines(optimizer_steps=None),
        "negative_steps": lines(optimizer_steps=-1),
        "huge_steps": lines(optimizer_steps=2**63),
        "most_steps": lines(optimizer_steps=2**63 - 1),
        "too_many_steps": lines(optimizer_steps__6__bias_fwd=6),
        "least_steps": lines(optimizer_steps__6__bias_fwd=-(2**63)),
        "steps_of_none": lines(optimizer_steps__x=1),
        "huge_image": lines(channels=4096, height=4096, width=4096),
        "no_image": lines(height=0, width=-2),
        "huge_position": lines(epoch=2**63 - 1, batch=-(2**63), best_epoch=2**62),
        "huge_checksum": lines(data_checksum=2**32),
        "not_finite": lines(best_nll="nan", objective_sum="inf", best_test_nll="1e999"),
        "no_numbers": lines(epoch="0x10", batch=" 5", best_epoch="+5", width="2 "),
        "wrong_config": lines(config='{"lr": -1}'),
        "nested_config": lines(config='{"seed":' + "[" * 1000 + "]" * 1000 + "}"),
        "control_characters": lines(experiment="\x1b[31m\r", batch="\x00\u202e"),
        "twice": lines() + "epoch=4\n",
    }
    write("metadata", files)


# ---- tables of numbers --------------------------------------------------------------------------


def csv_seeds():
    rows = "".join(f"{i},{i * i - 7}.5,{(i * 37) % 11}e-1\n" for i in range(24))
    description = "column,mean,deviation,role\na,0.5,2,x\n\"b,\",-1e3,0.25,context"
    files = {
        "named": "a,\"b, \"\"c\"\"\",d\n" + rows,
        "unnamed": rows,
        "semicolons": "a;b\n1;2.5\n",
        "tabs": "a\tb\n1\t2\n",
        "windows": "\ufeffa , b\r\n 1 , +2\r\n\r\n",
        "quoted": "\"a\"\n\"1\"\n \"2\" \n",
        "one_column": "1\n2\n3",
        "no_rows": "a,b\n",
        "no_end": "1,2",
        "empty_line": "1\n\n2\n",
        "constant": "a,b\n" + "1,2\n" * 20,
        "ragged": "a,b\n1,2\n1,2,3\n",
        "missing": "a,b\n1,\nNA,2\n",
        "not_finite": "1,2\nnan,-inf\n",
        "beyond": "1e39\n1e400\n1e-400\n",
        "decimal_comma": "a;b\n1,5;2\n",
        "twice": "a,a\n1,2\n",
        "text": "a,b\n1,red\n",
        "quote_open": "a,\"b\n1,2\n",
        "behind_quote": "\"a\"b\n1\n",
        "old_mac": "a\r1\r2\r",
        "utf16": b"\xff\xfea\0\n\0",
        "latin1": b"Gr\xf6\xdfe\n1\n",
        "escapes": "\x1b[31m,\u202e\n1,2\n",
        "wide": "1," * 200 + "1\n",
        "gzip": packed(rows.encode()),
        "description": description,
        "description_unnamed": "number,mean,deviation,role\n1,5e-324,1e308,x",
    }
    write("csv", files)


safetensors_seeds()
idx_seeds()
png_seeds()
tar_seeds()
config_seeds()
metadata_seeds()
csv_seeds()
