"""Change of size against what MATLAB itself made of the same numbers, and by value."""

from fractions import Fraction

import numpy as np
import pytest

from stages.bicubic import cubic, resized, weights

# the top left 24 x 24 of one channel of a picture, and of MATLAB's imresize(im2double(picture), 1/4) and 1/3 of it, as bytes, from
# https://github.com/xinntao/matlab_functions_verification (imresize_bicubic/baboon*.png); the whole picture agrees in every byte
CORNER = """
060606060606060606060606060606060606060606060606549c4c172c70676e37702c34545428152c182c2c67ab8a54548f4c4f2c4f4f673636345467746e34
18365433679595572c4f2c4f4c342c5474272c54549c5454541654b092b492ab342c7474174c2c2c909c377054489c67748e194f9cb0b3ab6e4f549c152c1717
2c9cb054b0958eb0678e723754679cb0342c17346e4c1737342c67d370b0b3c490b0b04f4c4c9074674c172c4f70342c70702c4f4c378c9cb095af6e2c1954af
744c172c172c4f2c2c2c54542c2c546f4c67afb0362c195454b08e5472252c2c344f4f4c2c9090486eb0704f9cb06f366e54af9074742c17544c2c272c2c67b0
544c4c36708f70488d4f95908f95572c545436252c34746f9c70372c366e2c4f8d4c70b0565490374f9c2c2c152c9cc49c4f4f4f2c2c27288f37364f6f4f676e
2c2c2c172c17374fb0b090702c2567724f364f374c362c4f34482c172c067067956fb09c8f2e47672c174c70564f182c4848543618172c5495af9c679c9c9556
2c2c173470374c2c5470549c36184f3770b0959c548f9cb038546e2c4c2c374f3467678d4f2c183625374f9cb0906f8f36349c37344f342c5436548d29374729
28345737679c8d344737546b70174f2c2c4836705737346f703474b0729c909c724836484f2927377057484f4c36364854679c909c9caf959cb36f566e67956f
37544f484c194f54546f4f4f545490b0349cb3956f4c90af906b5454954727349c926c5634675434374faf8d9c903467b0ad544f54679038349cb3928a2e9067
"""
QUARTER = [[62, 56, 58, 59], [71, 57, 96, 135], [112, 78, 59, 93], [85, 84, 57, 69]]
THIRD = [[62, 43, 59, 41, 53, 24], [77, 69, 67, 105, 129, 111], [72, 59, 54, 90, 113, 151], [123, 111, 63, 58, 77, 117],
         [90, 96, 79, 48, 51, 143], [54, 69, 60, 91, 49, 95]]


@pytest.mark.parametrize(("scale", "expected"), [(Fraction(1, 4), QUARTER), (Fraction(1, 3), THIRD)])
def test_a_reduction_is_matlabs_to_the_byte(scale, expected):
    corner = np.frombuffer(bytes.fromhex("".join(CORNER.split())), np.uint8).reshape(24, 24, 1)
    size = len(expected)  # what lies further right and below depends on more of the picture
    assert resized(corner, scale)[:size, :size, 0].tolist() == expected


def test_the_kernel_is_keys_with_minus_a_half():
    assert cubic(np.array([0.0, 0.5, 1.0, 1.5, 2.0, -0.5])) == pytest.approx([1, 0.5625, 0, -0.0625, 0, 0.5625])


def test_a_row_of_weights_written_out():
    """Halving: taps at distances 1/4, 3/4, ... of the kernel on either side; the first row mirrors what lies beyond the edge."""
    values = 0.5 * cubic((np.arange(8) - 3.5) / 2)
    row = weights(16, Fraction(1, 2))[3]
    assert row[3:11] == pytest.approx(values / values.sum()) and np.abs(row[:3]).max() == 0
    first = values[3:] + np.r_[values[2::-1], 0, 0]  # pixels -1, -2, -3 are 0, 1, 2 once more
    assert weights(16, Fraction(1, 2))[0][:5] == pytest.approx(first / values.sum(), abs=1e-12)


def test_enlarging_keeps_constants_and_straight_lines_inside():
    ramp = np.broadcast_to(np.arange(12.0)[:, None, None] * 10, (12, 12, 1))
    made = resized(ramp, 4)
    assert made.shape == (48, 48, 1) and np.diff(made[8:40, 5, 0]) == pytest.approx(np.full(31, 2.5))
    assert (resized(np.full((7, 5, 3), 200, np.uint8), 4) == 200).all()
    assert resized(np.full((7, 5, 3), 9, np.uint8), 0.25).shape == (2, 2, 3)
