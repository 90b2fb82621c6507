from deephealth.pipelines.cache import Cache, can_keep, key


def test_the_key_counts_operation_version_parameters_and_inputs(catalogue):
    add = catalogue["add"]
    first = key(add, {"times": 1}, {"a": "x"})
    assert key(add, {"times": 1}, {"a": "x"}) == first
    assert key(add, {"times": 2}, {"a": "x"}) != first
    assert key(add, {"times": 1}, {"a": "y"}) != first
    assert key(catalogue["fail"], {"times": 1}, {"a": "x"}) != first


def test_only_what_can_be_loaded_is_kept(catalogue, tmp_path):
    assert can_keep(catalogue["split"])
    assert not can_keep(catalogue["say"])
    cache = Cache(tmp_path)
    assert cache.store("s", "k" * 64, catalogue["say"], {"word": "seen"}) == {"word": "seen"}
    assert cache.load("s", "k" * 64, catalogue["say"]) is None
    cache.store("s", "k" * 64, catalogue["split"], {"left": 1.5, "right": 2.5})
    assert cache.load("s", "k" * 64, catalogue["split"]) == {"left": 1.5, "right": 2.5}
