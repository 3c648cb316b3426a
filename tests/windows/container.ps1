<#
.SYNOPSIS
The scenarios of the demo, inside one container.
.DESCRIPTION
Runs in a Windows container, where it is given as an encoded command. Prints one JSON object a line:
what was tried and how it ended.
.PARAMETER Eicar
The text of the EICAR test file.
#>
param([Parameter(Mandatory)] [string] $Eicar)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

function Read-Outcome {
    # Opens and reads a file: 'allowed', 'denied' (STATUS_VIRUS_INFECTED), or another error.
    param([Parameter(Mandatory)] [string] $Path)
    try {
        $null = [System.IO.File]::ReadAllBytes($Path)
        return 'allowed'
    } catch {
        $code = $_.Exception.GetBaseException().HResult
        if ($code -eq -2147024671) { return 'denied' }
        return ('error 0x{0:x8}' -f $code)
    }
}

function Read-UntilDenied {
    # The scan of a file that was just closed needs a moment; an open that comes first waits for it.
    param([Parameter(Mandatory)] [string] $Path)
    $outcome = ''
    foreach ($try in 1..50) {
        $outcome = Read-Outcome -Path $Path
        if ($outcome -ne 'allowed') { break }
        Start-Sleep -Milliseconds 100
    }
    return "$outcome after $try"
}

function Write-Result {
    # One line for the host.
    param([string] $Name, [string] $Outcome)
    [pscustomobject] @{ scenario = $Name; outcome = $Outcome } | ConvertTo-Json -Compress
}

# Package files of the image, the same in every container.
$read = 0
foreach ($file in @(Get-ChildItem -Path 'C:\Windows\System32' -Filter '*.dll' | Select-Object -First 200)) {
    if ((Read-Outcome -Path $file.FullName) -eq 'allowed') { $read++ }
}
Write-Result -Name 'reads package files' -Outcome "$read"

[System.IO.File]::WriteAllText('C:\dropped.com', $Eicar)
Write-Result -Name 'drops EICAR' -Outcome (Read-UntilDenied -Path 'C:\dropped.com')

[System.IO.File]::WriteAllText('C:\notes.txt', 'nothing wrong with this')
$null = Read-Outcome -Path 'C:\notes.txt'
[System.IO.File]::WriteAllText('C:\notes.txt', $Eicar)
Write-Result -Name 'overwrites a clean file that was scanned' -Outcome (Read-UntilDenied -Path 'C:\notes.txt')

$package = 'C:\Windows\System32\url.dll'
$null = Read-Outcome -Path $package
$null = & takeown.exe /f $package
$null = & icacls.exe $package /grant 'Everyone:F'
[System.IO.File]::WriteAllText($package, $Eicar)
Write-Result -Name 'infects its copy of a package file' -Outcome (Read-UntilDenied -Path $package)
