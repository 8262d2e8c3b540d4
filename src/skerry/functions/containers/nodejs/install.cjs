// Installs the packages of an image, within it: those of the system with apt-get, those of Node.js with npm, whose
// scripts are not run. Runs while the image is built. The files are those of Dispatch's template of images:
// `name version` a line, and a package.json.
'use strict'

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')

const FOLDER = '/skerry/packages'

function run(program, ...args) {
  const { status, error } = spawnSync(program, args, { cwd: FOLDER, stdio: 'inherit' })
  if (error) {
    console.error(`the base image has no ${program} to install packages with`)
    process.exit(1)
  }
  if (status) process.exit(status)
}

const lines = fs.readFileSync(`${FOLDER}/system-packages.txt`, 'utf8').split('\n').map((line) => line.trim().split(/\s+/))
const packages = lines.filter(([name]) => name).map((words) => words.slice(0, 2).join('='))
if (packages.length) {
  run('apt-get', 'update', '-qq')
  run('apt-get', 'install', '-qq', '--yes', '--no-install-recommends', '--', ...packages)
}
const manifest = fs.readFileSync(`${FOLDER}/packages.txt`, 'utf8')
if (manifest.trim()) {
  fs.writeFileSync(`${FOLDER}/package.json`, manifest)
  run('npm', 'install', '--ignore-scripts', '--omit=dev', '--no-audit', '--no-fund', '--loglevel=error')
}
