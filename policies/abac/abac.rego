# METADATA
# title: Attributes and circumstances
# description: |
#   What roles cannot say: who owns a thing, how sensitive it is, when and from where the request comes, and how
#   much risk there is.
#
#   Facts come from two places only. Attributes of resources and people are in `data.facts.abac`. Circumstances (the
#   caller's address, the time, risk) are in `input.trusted`, which Verdict fills itself. What the caller asserts
#   about itself in `context` decides nothing here.
package abac

# METADATA
# description: What is known of the resource; a resource that is not known is as sensitive as can be.
resource := object.get(
	object.get(data.facts.abac.resources, input.resource.type, {}),
	input.resource.id,
	{"owner": null, "sensitivity": "restricted"},
)

# METADATA
# description: Owners read, update and share what is theirs, whatever their role.
owner_may if {
	input.subject.type == "user"
	resource.owner == input.subject.id
	input.action.name in data.facts.abac.owner_actions
}

# METADATA
# description: Sensitivity and clearance, as numbers.
level(name) := data.facts.abac.levels[name]

clearance := level(object.get(data.facts.abac.clearances, input.subject.id, "public"))

vetoes contains sprintf("clearance does not cover %s resources", [resource.sensitivity]) if {
	clearance < level(resource.sensitivity)
}

# METADATA
# description: Confidential and restricted resources are for working hours, in UTC, Monday to Friday.
vetoes contains sprintf("%s resources are for working hours", [resource.sensitivity]) if {
	level(resource.sensitivity) >= level("confidential")
	not working_hours
}

working_hours if {
	[hour, _, _] := time.clock(input.trusted.time)
	hour >= data.facts.abac.working_hours.from
	hour < data.facts.abac.working_hours.to
	not time.weekday(input.trusted.time) in {"Saturday", "Sunday"}
}

# METADATA
# description: |
#   The zone of the enforcement point that asks: the one whose network holds its address. An address in no network
#   is in the zone "unknown", which no resource accepts.
default zone := "unknown"

zone := name if {
	some name, networks in data.facts.abac.zones
	some network in networks
	net.cidr_contains(network, input.trusted.caller.address)
}

vetoes contains sprintf("%s resources cannot be reached from zone %s", [resource.sensitivity, zone]) if {
	not zone in data.facts.abac.zones_of[resource.sensitivity]
}

# METADATA
# description: |
#   Risk, 0 to 100: the higher of what the service observed (`input.trusted.risk`) and what is on file for the subject.
#   Changing things takes a lower risk than reading them.
risk := max([
	object.get(input.trusted, ["risk", "score"], 0),
	object.get(data.facts.abac.risk, input.subject.id, 0),
])

vetoes contains sprintf("risk %v exceeds %v", [risk, highest]) if {
	highest := object.get(data.facts.abac.max_risk, input.action.name, data.facts.abac.max_risk["*"])
	risk > highest
}

# METADATA
# description: Reading what is confidential leaves a trace at the caller, and elevated risk asks for a second factor.
obligations contains {"type": "audit", "level": resource.sensitivity} if {
	level(resource.sensitivity) >= level("confidential")
}

obligations contains {"type": "step_up", "method": "mfa"} if {
	risk >= data.facts.abac.step_up_risk
}
