#!/usr/bin/env node
// The process: arguments in, an exit code out. Commands live in src/cli, one file each.
import { Command, CommanderError } from 'commander'
import { buildCommand } from './cli/build.ts'
import { bundlesCommand } from './cli/bundles.ts'
import { checkCommand } from './cli/check.ts'
import { doctorCommand } from './cli/doctor.ts'
import { drillCommand } from './cli/drill.ts'
import { evalCommand } from './cli/eval.ts'
import { explainCommand } from './cli/explain.ts'
import { fmtCommand } from './cli/fmt.ts'
import { isolationCommands } from './cli/isolations.ts'
import { logCommand } from './cli/log.ts'
import { exitCodes, printError } from './cli/output.ts'
import { pushCommand } from './cli/push.ts'
import { serveCommand } from './cli/serve.ts'
import { signCommand } from './cli/sign.ts'
import { testCommand } from './cli/test.ts'
import { version } from './version.ts'

const program = new Command('verdict')
  .description('Policy decision point: Rego policies as WebAssembly, each decision recorded')
  .version(version)
  .exitOverride()
  .addHelpText('after', '\nExit codes: 0 done, 1 the answer is no, 2 usage, 3 could not run.\nverdict COMMAND --help shows examples.')
for (const add of [
  serveCommand,
  buildCommand,
  testCommand,
  checkCommand,
  fmtCommand,
  evalCommand,
  signCommand,
  pushCommand,
  bundlesCommand,
  isolationCommands,
  logCommand,
  explainCommand,
  drillCommand,
  doctorCommand,
])
  add(program)
for (const command of program.commands) {
  command.exitOverride()
  for (const inner of command.commands) inner.exitOverride()
}

try {
  await program.parseAsync()
} catch (thrown) {
  if (thrown instanceof CommanderError) process.exitCode = thrown.exitCode === 0 ? exitCodes.done : exitCodes.usage
  else process.exitCode = printError(thrown, process.argv.includes('--json'))
}
