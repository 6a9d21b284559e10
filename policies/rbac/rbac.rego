# METADATA
# title: Roles
# description: |
#   Who has which role stands in `data.facts.rbac.assignments`, what a role grants in `data.facts.rbac.roles`, and which role
#   includes which others in the same place under `includes`. Inheritance is followed to any depth.
package rbac

# METADATA
# description: The role graph, as graph.reachable wants it.
inheritance[name] := includes if {
	some name, role in data.facts.rbac.roles
	includes := object.get(role, "includes", [])
}

# METADATA
# description: All roles of the subject, inherited ones included.
roles := graph.reachable(inheritance, object.get(data.facts.rbac.assignments, input.subject.id, []))

# METADATA
# description: A role of the subject grants the action on this type of resource; "*" stands for every action.
granted if {
	input.subject.type == "user"
	some role in roles
	some grant in data.facts.rbac.roles[role].grants
	grant.resource == input.resource.type
	some action in grant.actions
	action in {input.action.name, "*"}
}
