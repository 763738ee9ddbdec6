import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from rwgen import InvalidInputError
from rwgen.metrics import psnr, ssim


@pytest.fixture
def pair():
    generator = np.random.default_rng(5)
    image = generator.integers(0, 256, (24, 31, 3)).astype(np.uint8)
    noise = generator.normal(0, 20, image.shape)
    return image, np.clip(image + noise, 0, 255).astype(np.uint8)


def test_psnr_is_scikit_images(pair):
    expected = peak_signal_noise_ratio(*pair, data_range=255)
    assert psnr(*pair) == pytest.approx(expected, abs=1e-4)


def test_ssim_is_scikit_images_where_no_window_leaves_the_image(pair):
    _, full = structural_similarity(
        *pair,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        full=True,
    )
    # TensorFlow keeps only positions whose 11x11 window lies inside.
    assert ssim(*pair) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-3)


def test_equal_images_have_ssim_one_and_no_finite_psnr(pair):
    assert ssim(pair[0], pair[0]) == pytest.approx(1)
    assert psnr(pair[0], pair[0]) is None


def test_ssim_of_an_image_smaller_than_the_window_is_none():
    assert ssim(np.zeros((10, 40, 3)), np.zeros((10, 40, 3))) is None


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_images_of_different_shape_are_refused(metric):
    with pytest.raises(InvalidInputError, match="same shape"):
        metric(np.zeros((16, 16, 3)), np.zeros((16, 17, 3)))
