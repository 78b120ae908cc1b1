"""The test harness: machines as fixtures of tests.

    import rumpel

    with rumpel.boot("sqlite-web", memory="128M", env={"LIMIT": "50"}) as vm:
        assert vm.http().get("/").status_code == 200

`vm` is the machine, `aio` its twin for asyncio, `plugin` the fixtures of pytest, `images` builds and finds what is
booted, `scratch` keeps what a machine leaves behind away from everything else. Nothing is imported here.
"""
