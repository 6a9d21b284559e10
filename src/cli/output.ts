// How commands speak: results to stdout, errors to stderr, colours only on a terminal, JSON on request.
import { styleText } from 'node:util'
import { formatFinding, type PdpError, toPdpError } from '../errors.ts'

/** 0 done, 1 the answer is no, 2 usage, 3 could not run. */
export const exitCodes = { done: 0, no: 1, usage: 2, failed: 3 } as const

type Style = Parameters<typeof styleText>[0]

/** Styles text for stdout where that is a terminal; NO_COLOR and FORCE_COLOR are honoured. */
export function paint(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout })
}

export function print(line = ''): void {
  process.stdout.write(`${line}\n`)
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, undefined, 2))
}

/** @returns the exit code that belongs to the error */
export function printError(thrown: unknown, json: boolean): number {
  const error = toPdpError(thrown)
  if (json) process.stderr.write(`${JSON.stringify({ error: { code: error.code, message: error.message, findings: error.findings } })}\n`)
  else {
    for (const line of describe(error)) process.stderr.write(`${line}\n`)
  }
  return error.code === 'ERR_USAGE' || error.code === 'ERR_CONFIG_INVALID' ? exitCodes.usage : exitCodes.failed
}

function describe(error: PdpError): string[] {
  const label = styleText('red', 'error:', { stream: process.stderr })
  const lines = error.findings.map((finding) => {
    const details = finding.details === undefined ? '' : finding.details.map((line) => `\n    ${line}`).join('')
    return `${formatFinding(finding)}${details}`
  })
  const findingsTell = error.code === 'ERR_REGO' && lines.length > 0
  const head = findingsTell
    ? `${label} ${lines.length} finding${lines.length === 1 ? '' : 's'} (${error.code})`
    : `${label} ${error.message} (${error.code})`
  const cause = error.code === 'ERR_INTERNAL' && error.cause instanceof Error ? [error.cause.stack ?? error.cause.message] : []
  return [...lines, head, ...cause]
}
