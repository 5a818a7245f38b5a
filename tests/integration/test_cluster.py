"""What a look at a cluster's nodes finds, without a cluster; tests/cluster/test_nodes.py has one."""

from pipeline.cluster import Node, _versions, find_problems

WELL = Node("10.0.0.1", 4, 0, _versions(), sees_storage=True)


def test_a_cluster_like_this_machine_has_no_problems():
    assert find_problems([WELL, WELL], "/shared") == []


def test_every_problem_of_every_node_is_told_at_once_with_its_remedy():
    silent = Node("10.0.0.2", 4, 0, {}, sees_storage=False)
    old = Node("10.0.0.3", 4, 0, _versions() | {"torch": "1.0"}, sees_storage=True)
    blind = Node("10.0.0.4", 4, 0, _versions(), sees_storage=False)
    problems = find_problems([WELL, silent, old, blind], "/shared")
    assert [problem.split()[1] for problem in problems] == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]
    assert "did not answer within 10 s" in problems[0]
    assert "has torch 1.0, not " in problems[1]
    assert "does not see /shared" in problems[2] and "s3://bucket/prefix" in problems[2]
    assert all("fix:" in problem for problem in problems)
