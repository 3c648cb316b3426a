<#
.SYNOPSIS
Silos that are no ordinary containers: an application silo and a HostProcess container.
.DESCRIPTION
To be dot-sourced by run.ps1. Each runs a process that writes the EICAR test file and reads it back; what
the driver saw of that process is read from the trace at the end.
#>

# The processes that ran in such silos, by what they are.
$SiloProcesses = @{}

function Get-SiloScript {
    # Writes the test file to a folder, reads it until it is denied, and prints how that ended, as an
    # encoded command. $Folder is an expression. With $Gate it waits until that file is there.
    param(
        [Parameter(Mandatory)] [string] $Folder,
        [string] $Gate = ''
    )
    $eicar = (Get-EicarText) -replace "'", "''"
    $lines = @()
    if ($Gate -ne '') { $lines += "while (-not (Test-Path '$Gate')) { Start-Sleep -Milliseconds 100 }" }
    $lines += "`$file = Join-Path ($Folder) 'siloscan-silo.com'"
    $lines += "[IO.File]::WriteAllText(`$file, '$eicar')"
    $lines += '$outcome = ''allowed'''
    $lines += 'foreach ($try in 1..50) { try { $null = [IO.File]::ReadAllBytes($file) } catch {'
    $lines += '$outcome = ''{0:x8}'' -f $_.Exception.GetBaseException().HResult; break }; Start-Sleep -Milliseconds 100 }'
    $lines += '[pscustomobject] @{ process = $PID; outcome = $outcome; file = $file } | ConvertTo-Json -Compress'
    return [Convert]::ToBase64String([System.Text.Encoding]::Unicode.GetBytes($lines -join "`n"))
}

function Add-SiloOutcome {
    # Keeps what a process in such a silo printed.
    param(
        [Parameter(Mandatory)] [string] $What,
        [Parameter(Mandatory)] [AllowEmptyString()] [string] $Text
    )
    $line = $Text -split '\r?\n' | Where-Object { $_.StartsWith('{') } | Select-Object -Last 1
    if ($null -eq $line) {
        Add-Observation -Claim "a process runs in $What" -Holds $null -Seen $Text
        return
    }
    $one = ConvertFrom-Json -InputObject $line
    $SiloProcesses["$($one.process)"] = $What
    Add-Observation -Claim "a file with EICAR is denied in $What" `
        -Holds (Get-Denial -Seen ($one.outcome -eq '800700e1')) -Seen "$($one.outcome) $($one.file)"
}

function Test-AppSilo {
    # A job that becomes a silo without the host compute service, as anybody may make one: nothing in
    # it is skipped, and the driver tells of it. JobObjectCreateSilo is 35 and JobObjectSiloBasicInformation
    # 36 in winnt.h.
    Write-Step -Text 'An application silo'
    Add-Type -TypeDefinition @'
using System;
using System.Runtime.InteropServices;
public static class SiloscanJob {
    [DllImport("kernel32.dll", SetLastError = true, CharSet = CharSet.Unicode)]
    static extern IntPtr CreateJobObjectW(IntPtr security, string name);
    [DllImport("kernel32.dll", SetLastError = true)]
    static extern bool SetInformationJobObject(IntPtr job, int kind, IntPtr data, uint size);
    [DllImport("kernel32.dll", SetLastError = true)]
    static extern bool QueryInformationJobObject(IntPtr job, int kind, byte[] data, uint size, IntPtr written);
    [DllImport("kernel32.dll", SetLastError = true)]
    static extern bool AssignProcessToJobObject(IntPtr job, IntPtr process);
    static string Failed(string call) { return call + " failed with " + Marshal.GetLastWin32Error(); }
    public static string Put(IntPtr process) {
        IntPtr job = CreateJobObjectW(IntPtr.Zero, null);
        if (job == IntPtr.Zero) return Failed("CreateJobObject");
        if (!SetInformationJobObject(job, 35, IntPtr.Zero, 0)) return Failed("JobObjectCreateSilo");
        if (!AssignProcessToJobObject(job, process)) return Failed("AssignProcessToJobObject");
        byte[] data = new byte[16];
        if (!QueryInformationJobObject(job, 36, data, 16, IntPtr.Zero)) return Failed("JobObjectSiloBasicInformation");
        return "silo " + BitConverter.ToUInt32(data, 0) + ", server silo " + data[12];
    }
}
'@
    $gate = Join-Path $env:TEMP 'siloscan-silo.go'
    $printed = Join-Path $env:TEMP 'siloscan-silo.txt'
    Remove-Item -Path $gate -Force -ErrorAction SilentlyContinue
    $script = Get-SiloScript -Folder "'$env:TEMP'" -Gate $gate
    $process = Start-Process -FilePath 'powershell.exe' -PassThru -RedirectStandardOutput $printed -ArgumentList @(
        '-NoProfile', '-NonInteractive', '-EncodedCommand', $script
    )
    $made = [SiloscanJob]::Put($process.Handle)
    Add-Observation -Claim 'an application silo is made' -Holds $null -Seen $made
    if (-not $made.StartsWith('silo')) {
        $process.Kill()
        return
    }
    Set-Content -Path $gate -Value 'go'
    if (-not $process.WaitForExit(60000)) { $process.Kill() }
    Add-SiloOutcome -What 'an application silo' -Text "$(Get-Content -Path $printed -Raw)"
}

function Test-HostProcess {
    # A HostProcess container, which only containerd makes: it is fetched for this, checked by the digest
    # that its release names, and runs beside Docker under a pipe and folders of its own.
    param([Parameter(Mandatory)] [string] $Version)
    Write-Step -Text 'A HostProcess container'
    $folder = Join-Path $env:TEMP 'siloscan-containerd'
    $null = New-Item -ItemType Directory -Path $folder -Force
    $name = "containerd-$Version-windows-amd64.tar.gz"
    $archive = Join-Path $folder $name
    $from = "https://github.com/containerd/containerd/releases/download/v$Version/$name"
    try {
        Invoke-WebRequest -Uri $from -OutFile $archive -UseBasicParsing
        Invoke-WebRequest -Uri "$from.sha256sum" -OutFile "$archive.sha256sum" -UseBasicParsing
    } catch {
        Add-Observation -Claim 'a process runs in a HostProcess container' -Holds $null -Seen "no containerd: $_"
        return
    }
    $wanted = ("$(Get-Content -Path "$archive.sha256sum" -Raw)" -split '\s+')[0]
    if ((Get-FileHash -Path $archive -Algorithm SHA256).Hash -ne $wanted) {
        Add-Observation -Claim 'a process runs in a HostProcess container' -Holds $null -Seen "$name has another digest than $wanted"
        return
    }
    $null = Invoke-Program -File 'tar.exe' -Arguments @('-xf', $archive, '-C', $folder)
    $bin = Join-Path $folder 'bin'
    $env:PATH = "$bin;$env:PATH"
    $pipe = '\\.\pipe\siloscan-containerd'
    $image = 'mcr.microsoft.com/oss/kubernetes/windows-host-process-containers-base-image:v1.0.0'
    $daemon = Start-Process -FilePath (Join-Path $bin 'containerd.exe') -PassThru -ArgumentList @(
        '--address', $pipe, '--root', (Join-Path $folder 'root'), '--state', (Join-Path $folder 'state')
    )
    try {
        $null = Wait-Until -Condition {
            (Invoke-Program -File 'ctr.exe' -Arguments @('--address', $pipe, 'version') -MayFail).Code -eq 0
        }
        $null = Invoke-Program -File 'ctr.exe' -Arguments @('--address', $pipe, 'images', 'pull', $image) -MayFail
        $script = Get-SiloScript -Folder '$env:CONTAINER_SANDBOX_MOUNT_POINT'
        $run = Invoke-Program -File 'ctr.exe' -MayFail -Arguments @(
            '--address', $pipe, 'run', '--rm',
            '--annotation', 'microsoft.com/hostprocess-container=true',
            '--annotation', 'microsoft.com/hostprocess-inherit-user=true',
            $image, 'siloscan-hostprocess',
            'powershell.exe', '-NoProfile', '-NonInteractive', '-EncodedCommand', $script
        )
        Add-SiloOutcome -What 'a HostProcess container' -Text $run.Text
    } finally {
        $daemon.Kill()
    }
}

function Add-SiloAnswer {
    # What the driver saw of those processes: the routes of their opens with the container that the
    # system named, and what it told of foreign silos. Read line by line: a trace is large.
    param([Parameter(Mandatory)] [string] $Trace)
    $seen = @{}
    $fields = @{}
    if (Test-Path $Trace) {
        foreach ($line in [System.IO.File]::ReadLines($Trace)) {
            if ($line -match '<Data Name="(\w+)">\s*([^<]*?)\s*</Data>') { $fields[$Matches[1]] = $Matches[2] }
            if ($line -notmatch '</Event>') { continue }
            $what = $SiloProcesses["$($fields['ProcessId'])"]
            if ($null -ne $what) {
                $told = @('Route', 'Reason', 'Answer', 'Container' | ForEach-Object { "$($fields[$_])" }) -join ' '
                $seen["${what}: $told"] = 1 + $seen["${what}: $told"]
            }
            $fields = @{}
        }
    }
    foreach ($what in @($SiloProcesses.Values)) {
        $of = @($seen.Keys | Where-Object { $_.StartsWith($what) } | ForEach-Object { "$($seen[$_]) x $_" })
        Add-Observation -Claim "what the driver saw of $what" -Holds $null -Seen ($of -join '; ')
    }
}
