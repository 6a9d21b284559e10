// docs/conformance.md from the outcomes of a run.
import type { Outcome } from './run.ts'

export function report(version: string, outcomes: readonly Outcome[], excluded: ReadonlyMap<string, string>): string {
  const groups = new Map<string, { cases: number; passed: number }>()
  for (const { of, fault } of outcomes) {
    const group = groups.get(of.group) ?? { cases: 0, passed: 0 }
    groups.set(of.group, { cases: group.cases + 1, passed: group.passed + (fault === undefined ? 1 : 0) })
  }
  const passed = outcomes.filter(({ fault }) => fault === undefined).length
  return `# Conformance
Made by \`npm run conformance -- --write\`: the official test cases of OPA ${version}, taken from its Go module, each compiled to
WebAssembly and answered by Verdict's engine with the metering and the host functions that a running service has. Errors that OPA
reports only when built-in errors are strict count too. Numbers are compared digit by digit.

**${passed} of ${outcomes.length} cases hold.** Excluded, with the reason:

${[...excluded].map(([note, reason]) => `- \`${note}\`: ${reason}.`).join('\n')}

| group | cases | hold |
|---|---|---|
${[...groups]
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([name, { cases, passed }]) => `| ${name} | ${cases} | ${passed} |`)
  .join('\n')}
`
}
