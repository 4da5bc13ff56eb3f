"""Images for these tests; see tests/fixtures/images.py."""

from tests.fixtures.images import base_image_store, busybox_oci, empty_oci, image_builder, image_store_copy

__all__ = ["base_image_store", "busybox_oci", "empty_oci", "image_builder", "image_store_copy"]
