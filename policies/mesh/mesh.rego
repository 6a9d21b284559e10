# METADATA
# title: Service to service
# description: |
#   Microsegmentation: a service may call another one only where the called one's allowlist says so. Services are
#   named by their SPIFFE IDs, and IDs are compared whole, never by prefix: "spiffe://td/ns/a" is not
#   "spiffe://td/ns/ab".
package mesh

# METADATA
# description: The callee's allowlist names this caller with this action.
granted if {
	input.subject.type == "service"
	input.resource.type == "service"
	valid_spiffe_id(input.subject.id)
	some entry in data.facts.mesh.allow[input.resource.id]
	entry.caller == input.subject.id
	input.action.name in entry.actions
}

# METADATA
# description: A trust domain in lower case and a path without empty or dot segments (SPIFFE-ID, section 2).
valid_spiffe_id(id) if {
	regex.match(`^spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+$`, id)
	every segment in split(id, "/") {
		not segment in {".", ".."}
	}
}
