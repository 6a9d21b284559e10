package abac_test

import data.abac

wednesday_10 := 1772618400000000000

wednesday_22 := 1772661600000000000

sunday_10 := 1772964000000000000

ask(subject, action, id, trusted) := {
	"subject": {"type": "user", "id": subject},
	"action": {"name": action},
	"resource": {"type": "document", "id": id},
	"trusted": trusted,
}

from(address, time) := {"caller": {"authenticated": false, "address": address}, "time": time}

local := from("127.0.0.1", wednesday_10)

test_unknown_resources_are_restricted if {
	abac.resource.sensitivity == "restricted" with input as ask("carol", "read", "nowhere", local)
	"clearance does not cover restricted resources" in abac.vetoes with input as ask("alice", "read", "nowhere", local)
}

test_owner_actions if {
	abac.owner_may with input as ask("alice", "update", "roadmap", local)
	not abac.owner_may with input as ask("alice", "delete", "roadmap", local)
	not abac.owner_may with input as ask("bob", "update", "roadmap", local)
}

test_working_hours_guard_what_is_confidential if {
	abac.vetoes == set() with input as ask("carol", "read", "salaries", local)
	abac.vetoes == {"confidential resources are for working hours"} with input as ask("carol", "read", "salaries", from("127.0.0.1", wednesday_22))
	abac.vetoes == {"confidential resources are for working hours"} with input as ask("carol", "read", "salaries", from("127.0.0.1", sunday_10))
	abac.vetoes == set() with input as ask("carol", "read", "roadmap", from("127.0.0.1", sunday_10))
}

test_zones if {
	abac.zone == "local" with input as ask("carol", "read", "roadmap", from("::1", wednesday_10))
	abac.zone == "corporate" with input as ask("carol", "read", "roadmap", from("10.1.2.3", wednesday_10))
	abac.zone == "unknown" with input as ask("carol", "read", "roadmap", from("203.0.113.9", wednesday_10))
	abac.zone == "unknown" with input as ask("carol", "read", "roadmap", {"caller": {"authenticated": false}, "time": wednesday_10})
}

test_internal_resources_stay_inside if {
	abac.vetoes == {"internal resources cannot be reached from zone unknown"} with input as ask("carol", "read", "roadmap", from("203.0.113.9", wednesday_10))
	abac.vetoes == set() with input as ask("carol", "read", "handbook", from("203.0.113.9", wednesday_10))
}

test_risk_is_the_higher_of_two if {
	abac.risk == 90 with input as ask("mallory", "read", "handbook", local)
	abac.risk == 95 with input as ask("mallory", "read", "handbook", object.union(local, {"risk": {"score": 95}}))
	abac.risk == 0 with input as ask("alice", "read", "handbook", local)
}

test_changing_takes_a_lower_risk_than_reading if {
	risky := object.union(local, {"risk": {"score": 60}})
	abac.vetoes == set() with input as ask("carol", "read", "handbook", risky)
	abac.vetoes == {"risk 60 exceeds 50"} with input as ask("carol", "update", "handbook", risky)
}

test_elevated_risk_asks_for_a_second_factor if {
	{"type": "step_up", "method": "mfa"} in abac.obligations with input as ask("carol", "read", "handbook", object.union(local, {"risk": {"score": 45}}))
	abac.obligations == set() with input as ask("carol", "read", "handbook", local)
}

test_what_the_caller_asserts_decides_nothing if {
	asserted := object.union(ask("bob", "read", "salaries", local), {"context": {"clearance": "restricted", "risk": 0, "zone": "local", "owner": "bob"}})
	abac.vetoes == {"clearance does not cover confidential resources"} with input as asserted
}
