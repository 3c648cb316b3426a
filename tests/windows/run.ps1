#Requires -RunAsAdministrator
<#
.SYNOPSIS
One run of siloscan on Windows, from install to unload, with everything that was seen kept.
.DESCRIPTION
Installs, turns Driver Verifier on for siloscan.sys, loads, runs containers with the scenarios of the
demo, asks what docs/evidence.md does not know yet, unloads, reads the verifier, and leaves
evidence.md, evidence.json, the trace and any dump in the folder Results. Needs Docker with Windows
containers for the scenarios; without it they are left out, and that is said.
.PARAMETER Results
Where to put what was seen.
.PARAMETER Image
The container image; the Server Core image of this build by default.
.PARAMETER Containers
How many containers read the same package files.
.PARAMETER Containerd
The release of containerd that is fetched to make a HostProcess container, which Docker cannot.
.PARAMETER KeepDefender
Leaves Microsoft Defender's real-time protection on. It may deny or remove the test file before siloscan
sees it, so a denial by either counts, and one that is missing is no failure: the run shows that both
live together.
#>
[CmdletBinding()]
param(
    [string] $Results = (Join-Path $env:SystemDrive 'siloscan-results'),
    [string] $Image = '',
    [int] $Containers = 10,
    [string] $Containerd = '1.7.24',
    [switch] $KeepDefender
)
. (Join-Path $PSScriptRoot 'common.ps1')
. (Join-Path $PSScriptRoot 'scenarios.ps1')
. (Join-Path $PSScriptRoot 'silos.ps1')
$BesideAnother = [bool] $KeepDefender

$build = [Environment]::OSVersion.Version.Build
$null = New-Item -ItemType Directory -Path $Results -Force
$events = Join-Path $env:ProgramFiles 'siloscan\events.jsonl'
$trace = Join-Path $Results 'siloscan.etl'
if ($Image -eq '') {
    $tags = @{ 14393 = 'ltsc2016'; 17763 = 'ltsc2019'; 20348 = 'ltsc2022'; 26100 = 'ltsc2025' }
    $tag = $tags[$build]
    if ($null -eq $tag) { $tag = 'ltsc2022' }
    $Image = "mcr.microsoft.com/windows/servercore:$tag"
}

function Set-Defender {
    # Turns real-time protection off unless it is to stay, and keeps what it is then.
    if (-not (Get-Command -Name 'Get-MpComputerStatus' -ErrorAction SilentlyContinue)) {
        Add-Observation -Claim 'Microsoft Defender' -Holds $null -Seen 'not on this machine'
        return
    }
    if (-not $KeepDefender) {
        Set-MpPreference -DisableRealtimeMonitoring $true -ErrorAction Continue
        $null = Wait-Until -Condition { -not (Get-MpComputerStatus).RealTimeProtectionEnabled }
    }
    $on = (Get-MpComputerStatus).RealTimeProtectionEnabled
    Add-Observation -Claim 'Microsoft Defender''s real-time protection' -Holds $null -Seen "$on"
}

function Start-Everything {
    # Verifier, trace, driver, service, in this order.
    $on = Invoke-Program -File 'verifier.exe' -Arguments @(
        '/volatile', '/adddriver', 'siloscan.sys', '/flags', '0x9BB'
    ) -MayFail
    Add-Observation -Claim 'Driver Verifier is on for siloscan.sys (0x9BB)' -Holds ($on.Code -eq 0) -Seen $on.Text
    $null = Invoke-Program -File 'logman.exe' -Arguments @(
        'create', 'trace', 'siloscan', '-p', $SiloscanProvider, '0xffffffffffffffff', '0xff', '-o', $trace, '-ets'
    ) -MayFail
    $load = Invoke-Program -File 'fltmc.exe' -Arguments @('load', 'siloscan') -MayFail
    Add-Observation -Claim 'every import resolves and the driver loads' -Holds ($load.Code -eq 0) -Seen $load.Text
    if ($load.Code -ne 0) { throw "siloscan does not load: $($load.Text)" }
    $instances = Invoke-Program -File 'fltmc.exe' -Arguments @('instances', '-f', 'siloscan') -MayFail
    Add-Observation -Claim 'volumes are attached at altitude 320999.5' `
        -Holds ($instances.Text -match '320999\.5') -Seen $instances.Text
    if (Get-Service -Name 'siloscand' -ErrorAction SilentlyContinue) {
        Start-Service -Name 'siloscand'
        $there = Wait-Until -Condition {
            (Test-Path $events) -and (Select-String -Path $events -Pattern '"connected"' -Quiet)
        }
        Add-Observation -Claim 'the service connects as NT SERVICE\siloscand' -Holds $there -Seen $events
    }
}

function Read-Counter {
    # The service tells the driver's counters when it stops, and they begin anew with each load.
    if (-not (Get-Service -Name 'siloscand' -ErrorAction SilentlyContinue)) { return }
    Stop-Service -Name 'siloscand'
    Add-Counter -Events $events
    Start-Service -Name 'siloscand'
}

function Add-System {
    # The versions that the answers belong to.
    foreach ($name in @('ntoskrnl.exe', 'drivers\fltmgr.sys', 'drivers\wcifs.sys')) {
        $file = Get-Item -Path (Join-Path $env:SystemRoot "System32\$name") -ErrorAction SilentlyContinue
        $version = 'absent'
        if ($null -ne $file) { $version = $file.VersionInfo.FileVersion }
        Add-Observation -Claim "version of $name" -Holds $null -Seen $version
    }
}

function Stop-Everything {
    # The reverse, with what the verifier counted.
    if (Get-Service -Name 'siloscand' -ErrorAction SilentlyContinue) {
        Stop-Service -Name 'siloscand' -ErrorAction Continue
    }
    $unload = Invoke-Program -File 'fltmc.exe' -Arguments @('unload', 'siloscan') -MayFail
    Add-Observation -Claim 'the driver unloads' -Holds ($unload.Code -eq 0) -Seen $unload.Text
    $query = Invoke-Program -File 'verifier.exe' -Arguments @('/query') -MayFail
    $query.Text | Set-Content -Path (Join-Path $Results 'verifier.txt') -Encoding UTF8
    Add-Observation -Claim 'what Driver Verifier counted' -Holds $null -Seen $query.Text
    $null = Invoke-Program -File 'logman.exe' -Arguments @('stop', 'siloscan', '-ets') -MayFail
    if (Test-Path $trace) {
        $null = Invoke-Program -File 'tracerpt.exe' -Arguments @(
            $trace, '-o', (Join-Path $Results 'siloscan-trace.xml'), '-of', 'XML', '-y'
        ) -MayFail
    }
}

function Copy-Evidence {
    # Dumps, the service's events and the setup log, whatever happened before.
    foreach ($path in @(
            (Join-Path $env:SystemRoot 'MEMORY.DMP'), (Join-Path $env:SystemRoot 'Minidump'),
            (Join-Path $env:SystemRoot 'INF\setupapi.dev.log'), $events
        )) {
        if (Test-Path $path) { Copy-Item -Path $path -Destination $Results -Recurse -Force -ErrorAction Continue }
    }
    $dumps = @(Get-ChildItem -Path $Results -Filter '*.dmp' -Recurse)
    Add-Observation -Claim 'no crash dump' -Holds ($dumps.Count -eq 0) -Seen "$($dumps.Count) dumps"
}

$failed = $null
try {
    . (Join-Path $PSScriptRoot 'install.ps1')
    Add-System
    Set-Defender
    Start-Everything
    Test-HostFile -Events $events
    if (Get-Command -Name 'docker.exe' -ErrorAction SilentlyContinue) {
        Test-Container -Image $Image -Count $Containers -Events $events
        Test-LayerWrite -Image $Image
        Test-ImageRemoval -Image $Image
        Read-Counter
        Test-UnloadUnderLoad -Image $Image
    } else {
        Add-Observation -Claim 'containers' -Holds $null -Seen 'no Docker here: not tried'
    }
    Test-AppSilo
    Test-HostProcess -Version $Containerd
    Stop-Everything
    Add-SiloAnswer -Trace (Join-Path $Results 'siloscan-trace.xml')
} catch {
    $failed = $_
    Add-Observation -Claim 'the run came to its end' -Holds $false -Seen "$failed"
} finally {
    Copy-Evidence
}
$broken = Save-Observation -Folder $Results
Write-Step -Text "$($Observations.Count) observations, $broken against us; see $Results"
if ($broken -gt 0) { exit 1 }
