"""From a profile and a task to what is started: whose word counts, which paths, which addresses."""

from __future__ import annotations

import pytest
import yaml

from swarm.core.events import SlotAssigned
from swarm.core.task import Task
from swarm.errors import BadInput, Unreachable
from swarm.nodes.pairing import Pairing, own_address, without_effect
from swarm.wire import profile as profiles
from swarm.wire import taskfile

LEASE = SlotAssigned("12.0", "runner", 12, "task", "uid", 0, 12, 1)


class Desk:
    """A profile with one node and a task, which a test changes before it pairs them."""

    def __init__(self, directory):
        self.directory = directory
        self.told = []
        for name in ("certs/capath", "data", "model"):
            (directory / name).mkdir(parents=True)
        for name in ("sl-key.pem", "sl-cert.pem"):
            (directory / "certs" / name).write_text("PEM")
        certs = str(directory / "certs")
        self.node = {
            "idx": 0,
            "identity": [
                self.attribute("KEY", f"{certs}/sl-key.pem"),
                self.attribute("CERT", certs, "sl-cert.pem"),
                self.attribute("CAPATH", certs, "/capath"),
            ],
            "slhostname": None,
            "slhostip": "127.0.0.1",
            "slport": None,
            "slenvvars": None,
            "privatedata": {"src": str(directory / "data"), "mType": "BIND"},
            "usrhostname": None,
            "usrenvvars": None,
        }
        self.profile = {
            "groupname": "demo",
            "taskrunner": "runner",
            "policyuri": None,
            "resourcemgr": {"mgrtype": "PROCESS"},
            "network": "net",
            "apls": {"locator": {"host": "127.0.0.1"}},
            "apisrv": {"locator": {"host": None, "port": None, "service": None}},
            "envvars": None,
        }
        self.body = {
            "Command": "model/mnist_tf.py",
            "Entrypoint": "python3",
            "WorkingDir": "/tmp/test",
            "Envvars": None,
            "PrivateContent": "/tmp/test/",
            "SharedContent": [{"Src": str(directory / "model"), "Tgt": "/tmp/test/model", "MType": "BIND"}],
        }

    @staticmethod
    def attribute(kind, source, part=None):
        fields = {"aType": kind, "mType": "BIND", "src": source, "tgt": f"/swarm-cert/{kind}", "subPath": part}
        return {"attribute": fields}

    def read_profile(self):
        document = {**self.profile, "nodes": [{"slnodedef": self.node}]}
        return profiles.parse(yaml.safe_dump(document).encode(), "p.yaml")

    def pair(self):
        head = {"Name": "t", "TaskType": "RUN_SWARM", "Author": "me", "Prereq": "ROOTTASK", "Outcome": "t"}
        said = taskfile.parse(yaml.safe_dump({**head, "Body": self.body}).encode(), "t.yaml").to_wire()
        task = Task(*[said[key] for key in ("name", "type", "author", "prereq", "outcome", "body")], "", b"", 0)
        pairing = Pairing(self.read_profile(), ("127.0.0.1", 30304), self.directory / "volumes", self.told.append)
        return pairing.pair(task, LEASE)

    def option(self, flag):
        arguments = list(self.pair().learning_node)
        return arguments[arguments.index(flag) + 1]


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_the_learning_node_gets_its_identity_and_addresses_from_the_profile(desk, tmp_path):
    desk.node["slport"] = 16000
    assert desk.pair().learning_node == (
        *("--sn-ip", "127.0.0.1", "--sn-api-port", "30304", "--host-ip", "127.0.0.1", "--sl-fs-port", "16000"),
        *("--key", f"{tmp_path}/certs/sl-key.pem", "--cert", f"{tmp_path}/certs/sl-cert.pem"),
        *("--capath", f"{tmp_path}/certs/capath"),
    )


def test_no_slport_means_any_free_one(desk):
    assert desk.option("--sl-fs-port") == "0"


def test_no_slhostip_means_this_host_as_its_network_node_sees_it(desk):
    desk.node["slhostip"] = None
    assert desk.option("--host-ip") == own_address(("127.0.0.1", 1)) == "127.0.0.1"
    assert desk.told == []


def test_a_containers_name_as_slhostip_is_replaced_and_said(desk):
    desk.node["slhostip"] = "sl1.invalid"
    assert desk.option("--host-ip") == "127.0.0.1"
    assert "slhostip sl1.invalid of nodes[0] is no name that this host knows" in desk.told[0]


@pytest.mark.parametrize("name", ["a..b", "a" * 64 + ".b"])
def test_what_can_be_no_name_of_a_host_is_replaced_and_said_too(desk, name):
    desk.node["slhostip"] = name
    assert desk.option("--host-ip") == "127.0.0.1"
    assert "is no name that this host knows" in desk.told[0]


def test_a_network_node_that_no_way_leads_to_is_named():
    with pytest.raises(Unreachable, match=r"this host finds no way to sn-1\.invalid:30304"):
        own_address(("sn-1.invalid", 30304))


def test_the_profile_comes_before_the_task_and_the_node_before_the_profile(desk):
    desk.profile["envvars"] = [{"A": 1, "B": 1}]
    desk.node["slenvvars"] = [{"B": 2}]
    desk.body["Envvars"] = [{"C": 1, "D": 1, "E": None, "F": True}]
    desk.node["usrenvvars"] = [{"D": 2}]
    pair = desk.pair()
    assert pair.environment == {"A": "1", "B": "2", "SWARM_SLOT": "12.0", "SWARM_FENCE": "12"}
    assert {"C": "1", "D": "2", "E": ""}.items() <= pair.program.environment.items()
    assert "A" not in pair.program.environment


def test_host_names_are_seen_in_the_environment(desk):
    desk.node |= {"slhostname": "sl1", "usrhostname": "user1"}
    pair = desk.pair()
    assert (pair.environment["HOSTNAME"], pair.program.environment["HOSTNAME"]) == ("sl1", "user1")


@pytest.mark.parametrize(("gpus", "seen"), [("device=3,5", "3,5"), ('"device=3,5"', "3,5"), ("all", None)])
def test_gpus_of_a_container_are_those_that_cuda_shows(desk, gpus, seen):
    desk.node["usrcontaineropts"] = [{"gpus": gpus}]
    assert desk.pair().program.environment.get("CUDA_VISIBLE_DEVICES") == seen
    assert without_effect(desk.read_profile()) == []


def test_mounts_come_from_both_and_only_private_content_is_written(desk, tmp_path):
    mounts = desk.pair().program.mounts
    assert [(mount.what, str(mount.source), mount.target, mount.read_only) for mount in mounts] == [
        ("PrivateContent", f"{tmp_path}/data", "/tmp/test", False),
        ("SharedContent[0]", f"{tmp_path}/model", "/tmp/test/model", True),
    ]


def test_volumes_are_directories_of_the_operator(desk, tmp_path):
    desk.node["privatedata"] = {"src": "my-data", "mType": "VOLUME"}
    assert desk.pair().program.mounts[0].source == tmp_path / "volumes" / "my-data"


def test_without_private_content_the_profiles_data_are_not_shown(desk):
    desk.body["PrivateContent"] = None
    assert [mount.what for mount in desk.pair().program.mounts] == ["SharedContent[0]"]


def test_words_are_kept_together_by_quotes_and_nothing_is_expanded(desk):
    desk.body |= {"Entrypoint": "sh -c", "Command": "'echo $HOME; rm -rf ~' `touch x`"}
    assert desk.pair().program.arguments == ("sh", "-c", "echo $HOME; rm -rf ~", "`touch", "x`")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda desk: desk.node.update(privatedata=None), "PrivateContent, and nodes\\[0\\] .* has no privatedata"),
        (lambda desk: desk.node["identity"].pop(), "the profile names no CAPATH of nodes\\[0\\]"),
        (
            lambda desk: desk.node["identity"][0]["attribute"].update(src="/no/key.pem"),
            "KEY of nodes\\[0\\] /no/key.pem",
        ),
        (lambda desk: desk.node["identity"][2]["attribute"].update(subPath=".."), "leads out of"),
        (lambda desk: desk.node["privatedata"].update(src="<PROJECT>"), "privatedata of nodes\\[0\\] is '<PROJECT>'"),
        (lambda desk: desk.body["SharedContent"][0].update(Src="//"), "a whole host is not given to a worker"),
        (lambda desk: desk.body["SharedContent"][0].update(Tgt="/tmp/test"), "both claim /tmp/test"),
        (lambda desk: desk.body.update(Entrypoint=" ", Command=" "), "Entrypoint and Command of the task are blank"),
        (lambda desk: desk.body.update(Command="'open"), "cannot be split: no closing quotation"),
    ],
)
def test_what_does_not_fit_this_host_is_named_by_its_key(desk, change, sentence):
    change(desk)
    with pytest.raises(BadInput, match=sentence):
        desk.pair()


def test_what_only_containers_heed_is_listed(desk):
    desk.profile["dns"] = ["8.8.8.8"]
    desk.node |= {"usrlabels": ["gpu"], "usrcontaineropts": [{"ipc": "host"}]}
    assert without_effect(desk.read_profile()) == ["dns", "usrlabels of nodes[0]", "usrcontaineropts of nodes[0]"]
