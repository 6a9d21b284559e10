package mesh_test

import data.mesh

ask(caller, action, callee) := {"subject": {"type": "service", "id": caller}, "action": {"name": action}, "resource": {"type": "service", "id": callee}}

payments := "spiffe://example.org/ns/shop/sa/payments"

test_allowlist if {
	mesh.granted with input as ask("spiffe://example.org/ns/shop/sa/checkout", "POST", payments)
	not mesh.granted with input as ask("spiffe://example.org/ns/shop/sa/checkout", "DELETE", payments)
	not mesh.granted with input as ask("spiffe://example.org/ns/shop/sa/web", "POST", payments)
	not mesh.granted with input as ask("spiffe://example.org/ns/shop/sa/checkout", "POST", "spiffe://example.org/ns/shop/sa/unlisted")
}

test_ids_are_compared_whole if {
	not mesh.granted with input as ask("spiffe://example.org/ns/shop/sa/checkout2", "POST", payments)
	not mesh.granted with input as ask("spiffe://example.org/ns/shop/sa/check", "POST", payments)
}

test_spiffe_ids if {
	mesh.valid_spiffe_id("spiffe://example.org/ns/shop/sa/web")
	not mesh.valid_spiffe_id("spiffe://example.org")
	not mesh.valid_spiffe_id("spiffe://Example.org/a")
	not mesh.valid_spiffe_id("spiffe://example.org/a/")
	not mesh.valid_spiffe_id("spiffe://example.org/a/../b")
	not mesh.valid_spiffe_id("spiffe://example.org/a//b")
	not mesh.valid_spiffe_id("https://example.org/a")
}

test_people_are_not_services if {
	not mesh.granted with input as {"subject": {"type": "user", "id": "spiffe://example.org/ns/shop/sa/checkout"}, "action": {"name": "POST"}, "resource": {"type": "service", "id": payments}}
}
