"""Endings by which a name is taken for the name of a file, wherever it stands."""

from __future__ import annotations

from typing import Final

_BY_KIND: Final = {
    "documents": (
        "pdf doc docx docm dot dotx dotm rtf odt ott xls xlsx xlsm xlsb xlt xltx xltm ods csv tsv ppt pptx pptm pps ppsx odp txt md rst tex "
        "epub mobi pages"
    ),
    "data": (
        "json jsonl ndjson xml yaml yml toml ini cfg conf env log sql db sqlite sqlite3 mdb accdb parquet avro orc arrow feather pkl pickle "
        "npy npz h5 hdf5 onnx safetensors pt pth ckpt gguf dump bak tmp ics vcf eml msg mbox pst"
    ),
    "pictures, sound, films": "png jpg jpeg gif bmp tif tiff webp heic svg ico psd mp3 wav ogg flac m4a mp4 m4v mov avi mkv webm 3gp",
    "archives and images of disks": (
        "zip rar 7z tar gz tgz bz2 xz zst lz4 cab iso img dmg vhd vhdx vmdk ova jar war ear whl egg deb rpm apk ipa msi msix pkg crx xpi"
    ),
    "programs and scripts": (
        "exe dll sys scr bat cmd ps1 psm1 vbs vbe js jse mjs cjs wsf wsh hta lnk pif cpl reg sh bash zsh fish py pyc pyw pl rb php phtml "
        "asp aspx jsp java class kt scala go rs c h cc cpp hpp cs swift ts tsx jsx vue lua r ipynb so dylib o a bin elf wasm html htm css "
        "scss tf"
    ),
    "keys": "pem key crt cer der p12 pfx jks keystore kdbx ovpn ppk asc gpg pgp",
}

#: Not among them: endings that are as often the end of a host's name (com, app, net) or of a sentence.
FILE_ENDINGS: Final = frozenset(ending for endings in _BY_KIND.values() for ending in endings.split())
