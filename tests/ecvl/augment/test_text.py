"""The text form: the specification's own examples, and what it refuses."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecvl import ParameterError, augment
from ecvl.augment.text import _in_levels

EXAMPLE = """
SequentialAugmentationContainer
    AugRotate angle=[-5,5] center=(3,1) interp="linear"
    AugAdditiveLaplaceNoise std_dev=[0,0.51]
    AugCoarseDropout p=[0,0.55] drop_size=[0.02,0.1] per_channel=0
    AugAdditivePoissonNoise lambda=[0,40]
    AugFlip p=0.5
    AugMirror p=0.5
    OneOfAugmentationContainer p=0.5
        AugGammaContrast gamma=[0.5,1.5]
        AugBrightness beta=[30,60]
    end
    OneOfAugmentationContainer p=0.3
        AugElasticTransform alpha=[34,60] sigma=[4,6] interp="linear" border_type="constant"
        AugGridDistortion num_steps=[5,5] distort_limit=[-0.3,0.3]
        AugOpticalDistortion distort_limit=[-0.3,0.3] shift_limit=[-0.05,0.1] border_value=0
    end
    AugCenterCrop size=(224, 192)
end
"""


def test_the_specifications_example() -> None:
    # num_steps is one number here.
    turn = augment.from_text(EXAMPLE.replace("[5,5]", "5"))
    assert turn == augment.Sequential(
        [
            augment.Rotate((-5, 5), centre=(1, 3)),
            augment.AdditiveLaplaceNoise((0, 0.002)),
            augment.CoarseDropout((0, 0.55), (0.02, 0.1)),
            augment.AdditivePoissonNoise((0, 40)),
            augment.Flip("y"),
            augment.Mirror("x"),
            augment.OneOf(
                [augment.GammaContrast((0.5, 1.5)), augment.Brightness((30 / 255, 60 / 255))], 0.5
            ),
            augment.OneOf(
                [
                    augment.Elastic((34, 60), (4, 6)),
                    augment.GridDistortion(5, (-0.3, 0.3)),
                    augment.OpticalDistortion((-0.3, 0.3), (-0.05, 0.1), fill=0),
                ],
                0.3,
            ),
            augment.CentreCrop((192, 224)),
        ]
    )
    assert augment.from_text(augment.to_text(turn)) == turn


def test_lines_need_no_container_and_no_lines() -> None:
    turn = augment.from_text("AugFlip p=1 AugSalt p=[0, 0.1]\n  AugRotate angle=-3.5e0")
    assert turn == augment.Sequential(
        [augment.Flip("y", 1), augment.Salt((0, 0.1)), augment.Rotate(-3.5)]
    )
    assert augment.from_text("AugGaussianBlur") == augment.GaussianBlur()


def test_containers_say_all_of_theirs() -> None:
    turn = augment.Sequential(
        [augment.SomeOf([augment.Flip(), augment.Mirror(p=0.1)], (0, 2), p=0.25)], fuse=False
    )
    text = augment.to_text(turn)
    assert "count=(0,2) p=0.25" in text and "fuse=0" in text
    assert augment.from_text(text) == turn


@settings(max_examples=300, deadline=None)
@given(st.floats(0, 2) | st.integers(0, 510).map(lambda level: level / 255))
def test_levels_come_back_to_the_last_bit(part: float) -> None:
    turn = augment.AdditiveGaussianNoise((0, part))
    assert augment.from_text(augment.to_text(turn)) == turn
    whole = part * 255
    if math.isclose(whole, round(whole), rel_tol=1e-15):
        assert len(_in_levels(part)) <= 3 or part != round(whole) / 255


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("AugNothing", "AugRotate"),
        ("Rotate angle=3", "AugRotate"),
        ("AugRotate angle", "angle"),
        ("AugRotate angle=", "value of angle"),
        ("AugRotate angle=[1,2)", "angle"),
        ("AugRotate angle=[1,two]", "angle"),
        ("AugRotate angle=[1,2,3]", "angle|degrees"),
        ("AugRotate angle=1 angle=2", "twice"),
        ("AugRotate angle=1e999999", "angle"),
        ("AugRotate turns=3", "takes angle"),
        ('AugRotate interp="cubic"', "linear"),
        ("AugRotate scale=2", "scale"),
        ('AugElasticTransform border_type="reflect_101"', "constant"),
        ("AugFlip end", "'end' of nothing"),
        ("SequentialAugmentationContainer AugFlip", "'end' after"),
        ("OneOfAugmentationContainer q=1 AugFlip end", "takes"),
        ("OneOfAugmentationContainer end", "at least one"),
        ("AugFlip = 3", "."),
        ("AugFlip p=0.5 ; AugFlip", ";"),
        ("SequentialAugmentationContainer " * 50, "deep"),
        ('AugAdditiveLaplaceNoise std_dev="much"', "std_dev|deviation"),
    ],
)
def test_what_it_refuses(text: str, said: str) -> None:
    with pytest.raises(ParameterError, match=said) as caught:
        augment.from_text(text)
    assert "\n" not in str(caught.value)
