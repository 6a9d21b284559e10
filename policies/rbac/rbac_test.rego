package rbac_test

import data.rbac

ask(subject, action) := {"subject": {"type": "user", "id": subject}, "action": {"name": action}, "resource": {"type": "document", "id": "x"}}

test_roles_are_inherited_to_any_depth if {
	rbac.roles == {"admin", "editor", "viewer"} with input as ask("carol", "read")
	rbac.roles == {"editor", "viewer"} with input as ask("alice", "read")
	rbac.roles == {"viewer"} with input as ask("bob", "read")
	rbac.roles == set() with input as ask("nobody", "read")
}

test_a_cycle_of_roles_ends if {
	rbac.roles == {"a", "b"} with input as ask("x", "read")
		with data.facts.rbac.assignments as {"x": ["a"]}
		with data.facts.rbac.roles as {"a": {"includes": ["b"]}, "b": {"includes": ["a"]}}
}

test_a_star_grants_every_action if rbac.granted with input as ask("carol", "purge")

test_a_grant_is_for_its_type_only if {
	not rbac.granted with input as {"subject": {"type": "user", "id": "carol"}, "action": {"name": "read"}, "resource": {"type": "invoice", "id": "x"}}
}

test_services_have_no_roles if {
	not rbac.granted with input as {"subject": {"type": "service", "id": "carol"}, "action": {"name": "read"}, "resource": {"type": "document", "id": "x"}}
}
