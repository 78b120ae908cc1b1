"""Image -> running machine: QEMU's command line, QMP, console, control channel, volumes, accelerators.

    from rumpel.machine.instance import Image, Options, start

    with start(plan, image, Options(name="web")) as instance:
        print(instance.url("http"))
        instance.wait()

`instance` starts and drives machines, `detached` keeps one running without a terminal, `registry` lists, reads and
stops what runs under this user. Nothing is imported here, so that `rumpel --help` stays quick.
"""
