<#
.SYNOPSIS
What the other scripts share: running programs, and keeping what was seen.
.DESCRIPTION
For Windows PowerShell 5.1, which every Windows Server has. To be dot-sourced.
#>
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# The ETW provider `Siloscan`; its GUID is made from the name as TraceLogging does.
$SiloscanProvider = '{953ed540-b28f-5209-0562-c352addcc502}'
# Another scanner is left on: run.ps1 sets it.
if (-not (Test-Path -Path 'Variable:BesideAnother')) { $BesideAnother = $false }
# What was seen so far, one object each; Save-Observation writes them out. A script that sources
# another one keeps what it has.
if (-not (Test-Path -Path 'Variable:Observations')) {
    $Observations = New-Object -TypeName System.Collections.ArrayList
}

function Write-Step {
    # Says on the terminal what happens next.
    param([Parameter(Mandatory)] [string] $Text)
    Write-Host "`n== $Text" -ForegroundColor Cyan
}

function Invoke-Program {
    # Runs a program and returns what it printed. Ends the script if the program fails, unless told
    # that it may.
    param(
        [Parameter(Mandatory)] [string] $File,
        [string[]] $Arguments = @(),
        [switch] $MayFail
    )
    Write-Host "   > $File $Arguments" -ForegroundColor DarkGray
    # A line on the error output is no failure by itself: the exit code says.
    $before = $ErrorActionPreference
    $ErrorActionPreference = 'Continue'
    try {
        $lines = @(& $File @Arguments 2>&1 | ForEach-Object { "$_" })
        $code = $LASTEXITCODE
    } finally {
        $ErrorActionPreference = $before
    }
    $text = $lines -join "`r`n"
    if ($code -ne 0 -and -not $MayFail) {
        throw "$File $Arguments ended with $code`:`r`n$text"
    }
    return [pscustomobject] @{ Code = $code; Text = $text; Lines = $lines }
}

function Get-Denial {
    # Whether a denial that should be seen was. Beside another scanner a missing one proves nothing:
    # that scanner may have taken the file away first.
    param([Parameter(Mandatory)] [bool] $Seen)
    if ($Seen) { return $true }
    if ($BesideAnother) { return $null }
    return $false
}

function Add-Observation {
    # Keeps one thing that was seen. Holds is $true, $false, or $null where there is no right answer.
    param(
        [Parameter(Mandatory)] [string] $Claim,
        [Parameter(Mandatory)] [AllowNull()] $Holds,
        [Parameter(Mandatory)] [AllowEmptyString()] [string] $Seen
    )
    $mark = 'SEEN'
    if ($Holds -eq $true) { $mark = 'YES ' }
    if ($null -ne $Holds -and $Holds -eq $false) { $mark = 'NO  ' }
    Write-Host "   $mark $Claim`: $Seen"
    [void] $Observations.Add([pscustomobject] @{ claim = $Claim; holds = $Holds; seen = $Seen })
}

function Save-Observation {
    # Writes what was seen as JSON and as the table that docs/evidence.md wants. Returns how many
    # claims do not hold.
    param([Parameter(Mandatory)] [string] $Folder)
    $system = Get-CimInstance -ClassName Win32_OperatingSystem
    $head = [ordered] @{
        system = $system.Caption
        build  = $system.BuildNumber
        when   = (Get-Date).ToUniversalTime().ToString('o')
        seen   = $Observations
    }
    $head | ConvertTo-Json -Depth 5 | Set-Content -Path (Join-Path $Folder 'evidence.json') -Encoding UTF8
    $rows = @("# $($system.Caption), build $($system.BuildNumber)", '', '| claim | holds | seen |', '| --- | --- | --- |')
    foreach ($one in $Observations) {
        $holds = 'see there'
        if ($one.holds -eq $true) { $holds = 'yes' }
        if ($null -ne $one.holds -and $one.holds -eq $false) { $holds = '**no**' }
        $seen = $one.seen -replace '\r?\n', ' ' -replace '\|', '\|'
        $rows += "| $($one.claim) | $holds | $seen |"
    }
    $rows | Set-Content -Path (Join-Path $Folder 'evidence.md') -Encoding UTF8
    return @($Observations | Where-Object { $null -ne $_.holds -and $_.holds -eq $false }).Count
}

function Get-EicarText {
    # The EICAR test file's 68 bytes, in parts, so that no scanner takes this script for one.
    return 'X5O!P%@AP[4\PZX54(P^)7CC)7}' + '$EICAR-STANDARD-' + 'ANTIVIRUS-TEST-FILE!' + '$H+H*'
}

function Wait-Until {
    # Waits until the block returns true, at most so many seconds. Returns whether it did.
    param(
        [Parameter(Mandatory)] [scriptblock] $Condition,
        [int] $Seconds = 30
    )
    $end = (Get-Date).AddSeconds($Seconds)
    while ((Get-Date) -lt $end) {
        if (& $Condition) { return $true }
        Start-Sleep -Milliseconds 200
    }
    return $false
}
