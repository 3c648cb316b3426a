<#
.SYNOPSIS
The scenarios of a run: on the host, in containers, and against the layers.
.DESCRIPTION
To be dot-sourced by run.ps1. Each function adds what it saw to the observations.
#>

function Invoke-Container {
    # Runs a PowerShell script in a new process-isolated container, which is removed afterwards.
    param(
        [Parameter(Mandatory)] [string] $Image,
        [Parameter(Mandatory)] [string] $Script
    )
    $bytes = [System.Text.Encoding]::Unicode.GetBytes($Script)
    return Invoke-Program -File 'docker.exe' -MayFail -Arguments @(
        'run', '--rm', '--isolation=process', $Image,
        'powershell.exe', '-NoProfile', '-NonInteractive', '-EncodedCommand', [Convert]::ToBase64String($bytes)
    )
}

function Get-ContainerScript {
    # container.ps1 as a block with its argument, without comments: a command line has a limit.
    $source = Get-Content -Path (Join-Path $PSScriptRoot 'container.ps1') -Raw
    $lines = ($source -replace '(?s)<#.*?#>', '') -split '\r?\n' |
        Where-Object { $_ -notmatch '^\s*#' -and $_.Trim() -ne '' }
    $quoted = (Get-EicarText) -replace "'", "''"
    return "& {`n" + ($lines -join "`n") + "`n} '$quoted'"
}

function Add-Counter {
    # The driver's own counters, which the service reports when it stops: routes and reasons. They
    # answer how wcifs acknowledges, what it fills in, and how often a package file was scanned.
    param([Parameter(Mandatory)] [string] $Events)
    if (-not (Test-Path $Events)) { return }
    $line = Get-Content -Path $Events | Where-Object { $_ -match '"event":"driver_counts"' } | Select-Object -Last 1
    if ($null -eq $line) {
        Add-Observation -Claim 'the driver tells its counters' -Holds $false -Seen 'no driver_counts event'
        return
    }
    $counts = (ConvertFrom-Json -InputObject $line).counts
    Add-Observation -Claim 'the driver''s counters' -Holds $null -Seen ($counts | ConvertTo-Json -Compress)
    $names = @($counts.PSObject.Properties | ForEach-Object { $_.Name })
    $layer = 0
    if ($names -contains 'look-up/layer') { $layer = $counts.'look-up/layer' }
    Add-Observation -Claim 'wcifs answers the redirection ECP with layer ids' -Holds ($layer -gt 0) -Seen "$layer opens"
    foreach ($name in @('scan/unknown-flags', 'scan/contradiction', 'scan/user-mode', 'scan/no-layer-id', 'event/ecp-tainted')) {
        $count = 0
        if ($names -contains $name) { $count = $counts.$name }
        Add-Observation -Claim "answers of wcifs counted as $name" -Holds $null -Seen "$count"
    }
    $hits = 0
    if ($names -contains 'allow/cached-clean') { $hits = $counts.'allow/cached-clean' }
    Add-Observation -Claim 'later containers are served from the cache' -Holds ($hits -gt 0) -Seen "$hits hits"
}

function Test-HostFile {
    # A file on the host, outside any container.
    param([Parameter(Mandatory)] [string] $Events)
    Write-Step -Text 'A file on the host'
    $path = Join-Path $env:TEMP 'siloscan-host.com'
    [System.IO.File]::WriteAllText($path, (Get-EicarText))
    $denied = Wait-Until -Seconds 10 -Condition {
        try {
            $null = [System.IO.File]::ReadAllBytes($path)
            return $false
        } catch {
            return ($_.Exception.GetBaseException().HResult -eq -2147024671)
        }
    }
    Add-Observation -Claim 'a file with EICAR is denied on the host' -Holds (Get-Denial -Seen $denied) -Seen $path
    if (Test-Path $Events) {
        $line = Get-Content -Path $Events | Where-Object { $_ -match '"event":"detection"' } | Select-Object -Last 1
        Add-Observation -Claim 'the event of a host process names no container' -Holds $null -Seen "$line"
    }
    Remove-Item -Path $path -Force -ErrorAction SilentlyContinue
}

function Test-Container {
    # Containers from one image, one after the other, each with all the scenarios.
    param(
        [Parameter(Mandatory)] [string] $Image,
        [Parameter(Mandatory)] [int] $Count,
        [Parameter(Mandatory)] [string] $Events
    )
    Write-Step -Text "$Count containers from $Image"
    $null = Invoke-Program -File 'docker.exe' -Arguments @('pull', '--quiet', $Image)
    $script = Get-ContainerScript
    foreach ($number in 1..$Count) {
        $start = Get-Date
        $run = Invoke-Container -Image $Image -Script $script
        $seconds = [Math]::Round(((Get-Date) - $start).TotalSeconds, 1)
        if ($run.Code -ne 0) {
            Add-Observation -Claim "container $number runs" -Holds $false -Seen $run.Text
            continue
        }
        foreach ($line in @($run.Lines | Where-Object { $_.StartsWith('{') })) {
            $one = ConvertFrom-Json -InputObject $line
            $holds = $null
            if ($one.scenario -ne 'reads package files') { $holds = Get-Denial -Seen ($one.outcome.StartsWith('denied')) }
            Add-Observation -Claim "container $number $($one.scenario)" -Holds $holds -Seen "$($one.outcome) ($seconds s)"
        }
    }
    if (Test-Path $Events) {
        $found = @(Get-Content -Path $Events | Where-Object { $_ -match '"event":"detection"' })
        $named = @($found | Where-Object { $_ -match '"container":"' })
        Add-Observation -Claim 'detections in containers name the container' -Holds (Get-Denial -Seen ($named.Count -gt 0)) `
            -Seen "$($named.Count) of $($found.Count): $($named | Select-Object -Last 1)"
    }
}

function Test-LayerWrite {
    # A package file is changed on the host while containers use its layer: the change must reach
    # the driver, and the next open must see it.
    param([Parameter(Mandatory)] [string] $Image)
    Write-Step -Text 'A write into a layer on the host'
    $folder = Join-Path $env:TEMP 'siloscan-layer'
    $null = New-Item -ItemType Directory -Path $folder -Force
    Set-Content -Path (Join-Path $folder 'siloscan-probe.txt') -Value 'a package file'
    Set-Content -Path (Join-Path $folder 'Dockerfile') -Value @("FROM $Image", 'COPY siloscan-probe.txt C:/')
    $null = Invoke-Program -File 'docker.exe' -Arguments @('build', '--tag', 'siloscan-probe', $folder)
    $read = 'try { [IO.File]::ReadAllText(''C:\siloscan-probe.txt'') } catch { ''{0:x8}'' -f $_.Exception.GetBaseException().HResult }'
    $before = Invoke-Container -Image 'siloscan-probe' -Script $read
    Add-Observation -Claim 'a clean package file opens' -Holds ($before.Text -match 'a package file') -Seen $before.Text
    $root = (Invoke-Program -File 'docker.exe' -Arguments @('info', '--format', '{{.DockerRootDir}}')).Text.Trim()
    $file = Get-ChildItem -Path $root -Filter 'siloscan-probe.txt' -Recurse -Force -ErrorAction SilentlyContinue |
        Select-Object -First 1
    if ($null -eq $file) {
        Add-Observation -Claim 'the layer file on the host' -Holds $null -Seen "not found below $root"
        return
    }
    [System.IO.File]::WriteAllText($file.FullName, (Get-EicarText))
    $after = Invoke-Container -Image 'siloscan-probe' -Script $read
    Add-Observation -Claim 'a host''s write into a layer reaches the driver' `
        -Holds (Get-Denial -Seen ($after.Text -match '800700e1')) -Seen "$($file.FullName): $($after.Text)"
}

function Test-ImageRemoval {
    # An image goes away right after its files were scanned: nothing of ours holds them.
    param([Parameter(Mandatory)] [string] $Image)
    Write-Step -Text 'Removing an image'
    $removed = Invoke-Program -File 'docker.exe' -Arguments @('rmi', '--force', 'siloscan-probe') -MayFail
    Add-Observation -Claim "an image on top of $Image is removed at once" -Holds ($removed.Code -eq 0) -Seen $removed.Text
}

function Test-UnloadUnderLoad {
    # Unloads while a container reads files, and loads again.
    param([Parameter(Mandatory)] [string] $Image)
    Write-Step -Text 'Unloading under load'
    $loop = 'while ($true) { Get-ChildItem C:\Windows\System32 -Filter *.dll | ForEach-Object { $null = [IO.File]::ReadAllBytes($_.FullName) } }'
    $encoded = [Convert]::ToBase64String([System.Text.Encoding]::Unicode.GetBytes($loop))
    $id = (Invoke-Program -File 'docker.exe' -Arguments @(
            'run', '--detach', '--isolation=process', $Image, 'powershell.exe', '-NoProfile', '-EncodedCommand', $encoded
        )).Lines | Select-Object -Last 1
    Start-Sleep -Seconds 5
    foreach ($round in 1..5) {
        $down = Invoke-Program -File 'fltmc.exe' -Arguments @('unload', 'siloscan') -MayFail
        $up = Invoke-Program -File 'fltmc.exe' -Arguments @('load', 'siloscan') -MayFail
        Add-Observation -Claim "unload and load under load, round $round" `
            -Holds ($down.Code -eq 0 -and $up.Code -eq 0) -Seen "$($down.Text) $($up.Text)"
    }
    $null = Invoke-Program -File 'docker.exe' -Arguments @('rm', '--force', $id) -MayFail
}
