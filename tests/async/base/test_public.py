from lume_async._base.public import public


def test_a_public_class_shows_where_it_is_imported_from() -> None:
    @public
    class Thing:
        pass

    assert Thing.__module__ == "lume_async"
