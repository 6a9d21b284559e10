// verdict test: runs the Rego tests of a folder and measures what they cover.
import type { Command } from 'commander'
import { readFolder } from '../bundles/folder.ts'
import { PdpError } from '../errors.ts'
import type { Coverage, RegoTestResult, TestReport } from '../rego/toolchain.ts'
import { exitCodes, paint, print, printJson } from './output.ts'
import { withToolchain } from './with-toolchain.ts'

interface TestCommandOptions {
  run?: string
  threshold?: string
  verbose?: boolean
  json?: boolean
}

export function testCommand(program: Command): void {
  program
    .command('test')
    .description('run Rego tests, with coverage')
    .argument('<dir>', 'folder of Rego, tests and data')
    .option('-r, --run <regex>', 'only tests whose full name matches')
    .option('-t, --threshold <percent>', 'fail below this coverage')
    .option('-v, --verbose', 'list tests that passed')
    .option('--json', 'print a JSON report')
    .addHelpText(
      'after',
      `
Examples:
  verdict test policies
  verdict test policies --threshold 100
  verdict test policies --run 'owner' --verbose

Exit code 1: a test failed, none ran, or the coverage is below the threshold.`,
    )
    .action(async (dir: string, options: TestCommandOptions) => {
      const threshold = parseThreshold(options.threshold)
      const report = await withToolchain(async (toolchain) => {
        const { modules, data, manifest } = await readFolder(dir, toolchain)
        return toolchain.test({ files: modules, regoVersion: manifest?.rego_version }, data, options.run)
      })
      const counts = count(report.results)
      const tooLittle = threshold !== undefined && report.coverage.coverage < threshold
      if (options.json) printJson({ ...report, summary: counts })
      else {
        for (const result of report.results) printResult(result, options.verbose === true)
        if (options.run === undefined) printCoverage(report)
        print(`${counts.pass} passed, ${counts.fail + counts.error} failed, ${counts.skip} skipped; coverage ${report.coverage.coverage} %`)
        if (tooLittle) print(paint('red', `coverage ${report.coverage.coverage} % is below the threshold ${threshold} %`))
        if (report.results.length === 0) print('no test was found: tests are rules named test_… in *_test.rego')
      }
      if (counts.fail + counts.error > 0 || tooLittle || report.results.length === 0) process.exitCode = exitCodes.no
    })
}

function parseThreshold(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (!(value >= 0 && value <= 100)) throw new PdpError('ERR_USAGE', `--threshold must be a number from 0 to 100, not \`${text}\``)
  return value
}

function count(results: readonly RegoTestResult[]): Record<RegoTestResult['outcome'], number> {
  const counts = { pass: 0, fail: 0, error: 0, skip: 0 }
  for (const { outcome } of results) counts[outcome]++
  return counts
}

function printResult(result: RegoTestResult, verbose: boolean): void {
  const failed = result.outcome === 'fail' || result.outcome === 'error'
  if (!failed && !verbose) return
  const label = { pass: paint('green', 'PASS'), skip: paint('yellow', 'SKIP'), fail: paint('red', 'FAIL'), error: paint('red', 'ERROR') }[
    result.outcome
  ]
  const at = result.location === undefined ? '' : ` (${result.location.file}:${result.location.row})`
  print(`${label} ${result.package}.${result.name}${at} ${(result.duration_us / 1_000).toFixed(1)} ms`)
  if (!failed) return
  for (const one of result.cases ?? []) if (!one.pass) print(`  case ${one.name} failed`)
  if (result.error !== undefined) print(indent(`${result.error.code}: ${result.error.message}`))
  if (result.output) print(indent(result.output))
  if (result.trace) print(indent(result.trace))
}

function printCoverage({ coverage }: TestReport): void {
  for (const line of uncovered(coverage)) print(paint('yellow', line))
}

/** `file:12-14 is not covered`, one line for each run of lines. */
export function uncovered(coverage: Coverage): string[] {
  const lines: string[] = []
  for (const [file, report] of Object.entries(coverage.files)) {
    let last = 0
    for (const { start, end } of [...(report.not_covered ?? [])].sort((a, b) => a.start.row - b.start.row)) {
      if (end.row <= last) continue
      lines.push(`${file}:${start.row === end.row ? start.row : `${start.row}-${end.row}`} is not covered`)
      last = end.row
    }
  }
  return lines
}

function indent(text: string): string {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n')
}
