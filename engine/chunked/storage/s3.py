"""S3 by names as they are.

To the library ``*``, ``?`` and ``[`` in what is removed stand for other names, and ``?versionId=`` ends one. In a store
anybody may have put objects of such names, and a user may give a folder one.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

import s3fs

# Objects of one request; the protocol takes no more.
_AT_ONCE = 1000
_VERSION = "?versionId="
# No name has it.
_ESCAPED = "\0versionId="


class LiteralS3(s3fs.S3FileSystem):  # type: ignore[misc]
    """Objects of S3, whatever signs are in their names."""

    def split_path(self, path: str) -> tuple[str, str, None]:
        """The bucket and the whole name; no version."""
        bucket, key, _ = super().split_path(path.replace(_VERSION, _ESCAPED))
        return bucket, key.replace(_ESCAPED, _VERSION), None

    def remove_each(self, paths: Sequence[str]) -> None:
        """Remove objects of these names, those that are not there included, and none of another.

        Raises
        ------
        PermissionError, OSError
            Where the store refuses one.
        """
        for start in range(0, len(paths), _AT_ONCE):
            split = [self.split_path(path) for path in paths[start : start + _AT_ONCE]]
            told = [key for _, key, _ in split if key.isprintable()]
            if told:
                bucket, asked = split[0][0], {"Objects": [{"Key": key} for key in told], "Quiet": True}
                _refuse(self.call_s3("delete_objects", Bucket=bucket, Delete=asked).get("Errors", []))
            for bucket, key, _ in split:
                if not key.isprintable():  # XML, in which many names are told at once, cannot hold it
                    self.call_s3("delete_object", Bucket=bucket, Key=key)


def _refuse(errors: Sequence[dict[str, str]]) -> None:
    for error in errors:
        told = f"{error.get('Key', '')[:200]!r} cannot be removed: {error.get('Code')}, {error.get('Message')}"
        raise PermissionError(told) if error.get("Code") == "AccessDenied" else OSError(errno.EIO, told)
