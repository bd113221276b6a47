"""Completion in bash, with the real program."""

import os
import subprocess

import pytest

from mesh import BIN, ROOT, Mesh, program

SCRIPT = """
source %s/conf/completion/banmesh
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_banmesh
printf '%%s\\n' "${COMPREPLY[@]}"
""" % ROOT


def complete(*words, cwd=None):
    done = subprocess.run(["bash", "--norc", "-c", SCRIPT, "bash", program("banmesh"), *words],
                          check=True, text=True, cwd=cwd, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    assert done.stderr == ""
    return set(done.stdout.split())


def commands():
    said = subprocess.run([program("banmesh"), "--help"], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    return {line.split()[0] for line in said.splitlines() if line.startswith("  ")}


def test_commands():
    assert complete("") == commands() and len(commands()) > 8
    assert complete("stat") == {"status"}
    assert complete("--c") == {"--config"}
    assert complete("--config", "x.conf", "wh") == {"why"}
    assert complete("nonsense", "") == set()


def test_words_behind_a_command():
    assert complete("trust", "") == {"add", "list", "remove", "reset"}
    assert complete("allow", "") == {"list", "remove"}
    assert complete("status", "") == set()
    assert complete("bans", "--jail", "") == set()


@pytest.mark.parametrize("command", sorted(commands()))
def test_each_option_of_the_usage(command):
    usage = subprocess.run([program("banmesh"), command, "--help"], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.split("\n\n")[0]
    wanted = {word.strip("[]|") for word in usage.split() if word.strip("[]|").startswith("--")}
    assert wanted | {"--config", "--json", "--help"} <= complete(command, "-")


def test_options_that_are_written_below_the_usage():
    assert complete("trust", "--u") == {"--undo-bans"}
    assert complete("trust", "add", "--d") == {"--dir"}


def test_names_of_nodes_and_files(tmp_path):
    mesh = Mesh(tmp_path, ["mx1", "mx2", "ops1"])
    conf = mesh.nodes[0].conf
    assert complete("--config", conf, "admit", "") == {"mx1", "mx2", "ops1"}
    assert complete("trust", "remove", "--dir", mesh.trust, "o") == {"ops1"}
    assert complete("bans", "--config", conf, "--origin", "mx") == {"mx1", "mx2"}
    assert complete("admit", "--config", str(tmp_path / "none.conf"), "") == set()
    assert complete("status", "--config", conf[:-2]) == {conf}
    assert complete("trust", "add", "ops1.ce", cwd=mesh.trust) == {"ops1.cert"}


def test_it_is_installed(tmp_path):
    subprocess.run(["cmake", "--install", BIN, "--prefix", str(tmp_path)], check=True,
                   stdout=subprocess.DEVNULL)
    assert os.path.exists(tmp_path / "share/bash-completion/completions/banmesh")
