// The small policy of both benches: roles from data, an owner rule with a time window, reasons.

export const abacPolicy = `package authz

default allow := false

# METADATA
# entrypoint: true
decision := {"allow": allow, "reasons": reasons}

roles contains r if some r in data.assignments[input.subject.id]

allow if {
	some r in roles
	some g in data.grants[r]
	g.action == input.action.name
	g.type == input.resource.type
}

allow if {
	input.resource.properties.owner == input.subject.id
	input.action.name in {"read", "update"}
	input.context.hour >= 8
	input.context.hour < 18
}

reasons contains "no-role" if not allow
`
const read = { action: 'read', type: 'doc' }
export const abacData = {
  assignments: { alice: ['admin'], bob: ['viewer'] },
  grants: { admin: [read, { action: 'write', type: 'doc' }], viewer: [read] },
}

/** A question that the policy allows; the resource's ID is the number. */
export const abacQuestion = (i: number) => ({
  subject: { type: 'user', id: 'bob' },
  action: { name: 'read' },
  resource: { type: 'doc', id: String(i), properties: { owner: 'alice' } },
  context: { hour: 10 },
})

/** A batch over one page of resources: who asks, for what and when said once. */
export const abacBatch = (size: number) => {
  const { subject, action, context } = abacQuestion(0)
  return { subject, action, context, evaluations: Array.from({ length: size }, (_, i) => ({ resource: abacQuestion(i).resource })) }
}
