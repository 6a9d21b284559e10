package authz_test

import data.authz

# Wednesday, 4 March 2026, 10:00 UTC, asked by an enforcement point on the same machine.
trusted := {"caller": {"authenticated": false, "address": "127.0.0.1"}, "time": 1772618400000000000}

ask(subject, action, id) := {
	"subject": {"type": "user", "id": subject},
	"action": {"name": action},
	"resource": {"type": "document", "id": id},
	"trusted": trusted,
}

test_role_grants if {
	authz.decision == {"allow": true, "reasons": set(), "obligations": set()} with input as ask("alice", "read", "roadmap")
}

test_nothing_is_granted_to_strangers if {
	authz.decision.allow == false with input as ask("eve", "read", "handbook")
	authz.decision.reasons == {"no rule grants this action"} with input as ask("eve", "read", "handbook")
}

test_a_viewer_may_not_update if {
	authz.decision.reasons == {"no rule grants this action"} with input as ask("bob", "update", "roadmap")
}

test_owners_may_share_without_a_role if {
	authz.decision.allow with input as ask("dave", "share", "notes")
	not authz.allow with input as ask("dave", "delete", "notes")
}

test_a_veto_outweighs_a_grant if {
	d := authz.decision with input as ask("bob", "read", "salaries")
	d.allow == false
	d.reasons == {"clearance does not cover confidential resources"}
	d.obligations == set()
}

test_obligations_come_with_an_allow if {
	d := authz.decision with input as ask("carol", "read", "salaries")
	d.allow == true
	d.obligations == {{"type": "audit", "level": "confidential"}}
}

test_services_have_their_own_list if {
	authz.decision.allow with input as {
		"subject": {"type": "service", "id": "spiffe://example.org/ns/shop/sa/checkout"},
		"action": {"name": "POST"},
		"resource": {"type": "service", "id": "spiffe://example.org/ns/shop/sa/payments"},
		"trusted": trusted,
	}
}

test_an_empty_question_is_denied if {
	authz.decision.allow == false with input as {}
}
