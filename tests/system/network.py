"""A network of its own for each node: namespaces, joined by a bridge, with filters for what is cut.

Everything lies in namespaces with names of their own; the machine's own network is not touched. They
are removed at the end, whatever happened; processes in them must have ended before.
"""

import os
import re
import subprocess

import pytest

FIRST = "198.18.7."  # RFC 2544: for tests like this one


def run(*argv, text=None):
    done = subprocess.run(argv, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode != 0:
        raise OSError("%s: %s" % (" ".join(argv), done.stdout.strip()))
    return done.stdout


def remove_orphans():
    """What a test left that was killed itself."""
    for name in re.findall(r"^bm\d+-\S+", run("ip", "netns", "list"), re.MULTILINE):
        if not os.path.exists("/proc/" + name[2:].split("-")[0]):
            subprocess.run(["ip", "netns", "del", name], check=False)


class Network:
    """One namespace a host, and one that holds the bridge."""

    def __init__(self, hosts):
        self.hosts = list(hosts)
        self.unique = "bm%d" % os.getpid()
        self.made = []

    def namespace(self, host):
        return "%s-%s" % (self.unique, host)

    def address(self, host):
        return FIRST + str(self.hosts.index(host) + 1)

    def prefix(self, host):
        """Before the command line of what is to run there."""
        return ["ip", "netns", "exec", self.namespace(host)]

    def __enter__(self):
        try:
            remove_orphans()
            self.add("bridge")
        except (OSError, FileNotFoundError) as error:
            self.close()
            pytest.skip("network namespaces are not permitted here: %s" % error)
        try:
            self.build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def add(self, host):
        run("ip", "netns", "add", self.namespace(host))
        self.made.append(host)
        run("ip", "-n", self.namespace(host), "link", "set", "lo", "up")

    def build(self):
        bridge = self.namespace("bridge")
        run("ip", "-n", bridge, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", bridge, "link", "set", "br0", "up")
        for number, host in enumerate(self.hosts):
            self.add(host)
            here, port = self.namespace(host), "port%d" % number
            run("ip", "-n", here, "link", "add", "eth0", "type", "veth", "peer", "name", port,
                "netns", bridge)
            run("ip", "-n", here, "address", "add", self.address(host) + "/24", "dev", "eth0")
            run("ip", "-n", here, "link", "set", "eth0", "up")
            run("ip", "-n", bridge, "link", "set", port, "master", "br0", "up")

    def close(self):
        for host in self.made:
            subprocess.run(["ip", "netns", "del", self.namespace(host)], check=False)
        self.made = []

    # ---- what is cut ----

    def filter(self, host, rules):
        """What a host does not hear: rules for its input, in place of those before."""
        run(*self.prefix(host), "nft", "-f", "-", text="""
            table inet cut
            delete table inet cut
            table inet cut {
                chain input {
                    type filter hook input priority 0
                    %s
                }
            }
            """ % "\n".join(rules))

    def silence(self, host, others):
        """What these send does not arrive at that host."""
        self.filter(host, ["ip saddr { %s } drop" % ", ".join(
            self.address(other) for other in others)] if others else [])

    def cut(self, sides):
        """Hosts hear those of their own side only."""
        for side in sides:
            for host in side:
                self.silence(host, [other for other in self.hosts if other not in side])

    def lose(self, percent):
        """Each packet is lost with that chance."""
        for host in self.hosts:
            self.filter(host, ["iifname != lo numgen random mod 100 < %d drop" % percent])

    def heal(self):
        for host in self.hosts:
            self.filter(host, [])
