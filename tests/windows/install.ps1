#Requires -RunAsAdministrator
<#
.SYNOPSIS
Installs siloscan from the folder above this one, for tests.
.DESCRIPTION
Trusts the test certificate, makes and signs a catalog where the tools for it are, installs the
driver by the way that this version of Windows documents, and makes the service siloscand. Starts
neither. The machine must be in test-signing mode: bcdedit /set testsigning on, then restart.
.PARAMETER Package
The folder with siloscan.inf; the one above this script by default.
.PARAMETER Uninstall
Stops and removes what an earlier run installed.
#>
[CmdletBinding()]
param(
    [string] $Package = (Split-Path -Parent $PSScriptRoot),
    [switch] $Uninstall
)
. (Join-Path $PSScriptRoot 'common.ps1')

# From here on Windows stages a primitive driver in its store; before, setupapi installs the section.
$StoreBuild = 18362

# Where the Event Log looks its sources up.
$EventSource = 'HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\siloscand'

function Test-Signing {
    # Whether Windows loads drivers with a test signature.
    $boot = Invoke-Program -File 'bcdedit.exe' -Arguments @('/enum', '{current}') -MayFail
    return ($boot.Text -match '(?im)^\s*testsigning\s+(yes|ja|oui)')
}

function Add-Trust {
    # Trusts the certificate that signed the image, as a root and as a publisher.
    param([Parameter(Mandatory)] [string] $File)
    foreach ($store in @('Root', 'TrustedPublisher')) {
        $null = Import-Certificate -FilePath $File -CertStoreLocation "Cert:\LocalMachine\$store"
    }
}

function Find-KitTool {
    # A program of the newest Windows Driver Kit or SDK on this machine, or nothing.
    param([Parameter(Mandatory)] [string] $Name)
    $kit = Join-Path ${env:ProgramFiles(x86)} 'Windows Kits\10\bin'
    if (-not (Test-Path $kit)) { return $null }
    $found = Get-ChildItem -Path $kit -Filter $Name -Recurse -ErrorAction SilentlyContinue |
        Where-Object { $_.FullName -match '\\x(64|86)\\' } |
        Sort-Object -Property FullName -Descending |
        Select-Object -First 1
    if ($null -eq $found) { return $null }
    return $found.FullName
}

function New-TestCatalog {
    # Makes siloscan.cat and signs it with a certificate made for this machine. Returns how.
    param([Parameter(Mandatory)] [string] $Folder)
    $catalog = Join-Path $Folder 'siloscan.cat'
    $tool = Find-KitTool -Name 'Inf2Cat.exe'
    if ($null -eq $tool) {
        $null = New-FileCatalog -Path @(
            (Join-Path $Folder 'siloscan.sys'), (Join-Path $Folder 'siloscan.inf')
        ) -CatalogFilePath $catalog -CatalogVersion 2.0
        $how = 'New-FileCatalog'
    } else {
        $null = Invoke-Program -File $tool -Arguments @("/driver:$Folder", '/os:10_X64,Server2016_X64', '/uselocaltime')
        $how = 'Inf2Cat'
    }
    $signer = New-SelfSignedCertificate -Type CodeSigningCert -Subject 'CN=siloscan test catalog' `
        -CertStoreLocation 'Cert:\LocalMachine\My'
    $exported = Join-Path $env:TEMP 'siloscan-catalog.cer'
    $null = Export-Certificate -Cert $signer -FilePath $exported
    Add-Trust -File $exported
    $signed = Set-AuthenticodeSignature -FilePath $catalog -Certificate $signer -HashAlgorithm SHA256
    return "$how, signature $($signed.Status)"
}

function Install-Driver {
    # Installs by the documented way for this build. Returns what was done.
    param(
        [Parameter(Mandatory)] [string] $Inf,
        [Parameter(Mandatory)] [int] $Build
    )
    if ($Build -ge $StoreBuild) {
        $done = Invoke-Program -File 'pnputil.exe' -Arguments @('/add-driver', $Inf, '/install') -MayFail
        if (Test-Path 'HKLM:\SYSTEM\CurrentControlSet\Services\siloscan') {
            return "pnputil: $($done.Text)"
        }
        Write-Warning "pnputil did not install, trying InstallHinfSection: $($done.Text)"
    }
    # Takes one command line, and tells no result: the service's key does.
    $line = "setupapi.dll,InstallHinfSection DefaultInstall 132 $Inf"
    $setup = Start-Process -FilePath 'rundll32.exe' -ArgumentList $line -PassThru
    if (-not $setup.WaitForExit(120000)) {
        $setup.Kill()
        return 'InstallHinfSection DefaultInstall, which asked somebody something and was ended'
    }
    return 'InstallHinfSection DefaultInstall'
}

function Install-Service {
    # The service siloscand, with a SID of its own: the port admits no other.
    param([Parameter(Mandatory)] [string] $Folder)
    $own = Join-Path $env:ProgramFiles 'siloscan'
    $null = New-Item -ItemType Directory -Path $own -Force
    # The command lies beside the service, which starts it for proactive scans.
    foreach ($name in @('siloscand.exe', 'siloscan.exe')) {
        Copy-Item -Path (Join-Path $Folder $name) -Destination $own -Force
    }
    $events = Join-Path $own 'events.jsonl'
    $binary = "`"$own\siloscand.exe`" --service --events `"$events`""
    $null = New-Service -Name 'siloscand' -BinaryPathName $binary -StartupType Manual `
        -DisplayName 'siloscan scan service' -DependsOn 'siloscan'
    $null = Invoke-Program -File 'sc.exe' -Arguments @('sidtype', 'siloscand', 'unrestricted')
    # The Event Log's viewer asks this program for the sentences of siloscand's entries.
    $null = Invoke-Program -File 'reg.exe' -Arguments @('add', $EventSource, '/f', '/v', 'EventMessageFile',
        '/t', 'REG_EXPAND_SZ', '/d', "$own\siloscand.exe")
    $null = Invoke-Program -File 'reg.exe' -Arguments @('add', $EventSource, '/f', '/v', 'TypesSupported',
        '/t', 'REG_DWORD', '/d', '7')
    return $events
}

function Remove-All {
    # Takes everything away again; what is not there is as good.
    foreach ($name in @('siloscand', 'siloscan')) {
        $null = Invoke-Program -File 'sc.exe' -Arguments @('stop', $name) -MayFail
    }
    $null = Invoke-Program -File 'fltmc.exe' -Arguments @('unload', 'siloscan') -MayFail
    $null = Invoke-Program -File 'sc.exe' -Arguments @('delete', 'siloscand') -MayFail
    $null = Invoke-Program -File 'reg.exe' -Arguments @('delete', $EventSource, '/f') -MayFail
    foreach ($driver in @(Get-WindowsDriver -Online | Where-Object { $_.OriginalFileName -like '*\siloscan.inf' })) {
        $null = Invoke-Program -File 'pnputil.exe' -Arguments @('/delete-driver', $driver.Driver, '/uninstall') -MayFail
    }
    $null = Invoke-Program -File 'sc.exe' -Arguments @('delete', 'siloscan') -MayFail
    $copied = Join-Path $env:SystemRoot 'System32\drivers\siloscan.sys'
    if (Test-Path $copied) { Remove-Item -Path $copied -Force }
}

if ($Uninstall) {
    Write-Step -Text 'Uninstalling'
    Remove-All
    return
}

$build = [Environment]::OSVersion.Version.Build
Write-Step -Text "Installing on build $build"
Add-Observation -Claim 'test-signing mode' -Holds (Test-Signing) -Seen 'bcdedit'
Add-Trust -File (Join-Path $Package 'siloscan-test.cer')
$image = Get-AuthenticodeSignature -FilePath (Join-Path $Package 'siloscan.sys')
Add-Observation -Claim 'Windows accepts the signature that osslsigncode made' `
    -Holds ($image.Status -eq 'Valid') -Seen $image.StatusMessage

$verifier = Find-KitTool -Name 'InfVerif.exe'
if ($null -ne $verifier) {
    $inf = Join-Path $Package 'siloscan.inf'
    foreach ($rules in @(@('/v', '/w', '/wbuild', '10.0.25952'), @('/v', '/h'))) {
        $told = Invoke-Program -File $verifier -Arguments ($rules + $inf) -MayFail
        Add-Observation -Claim "InfVerif $rules" -Holds ($told.Code -eq 0) -Seen $told.Text
    }
} else {
    Add-Observation -Claim 'InfVerif' -Holds $null -Seen 'no Windows Driver Kit here'
}

if ($build -ge $StoreBuild) {
    Add-Observation -Claim 'a catalog' -Holds $null -Seen (New-TestCatalog -Folder $Package)
}
$how = Install-Driver -Inf (Join-Path $Package 'siloscan.inf') -Build $build
Add-Observation -Claim 'how the driver was installed' -Holds $null -Seen $how

$key = 'HKLM:\SYSTEM\CurrentControlSet\Services\siloscan'
$instances = Join-Path $key 'Instances'
if ($build -ge 25952) { $instances = Join-Path $key 'Parameters\Instances' }
$default = (Get-ItemProperty -Path $instances -ErrorAction SilentlyContinue).DefaultInstance
Add-Observation -Claim "the default instance is below $instances" `
    -Holds ($default -eq 'siloscan Instance') -Seen "$default"
$path = (Get-ItemProperty -Path $key -ErrorAction SilentlyContinue).ImagePath
Add-Observation -Claim 'where the image runs from' -Holds $null -Seen "$path"

if (Test-Path (Join-Path $Package 'siloscand.exe')) {
    Write-Host "   siloscand reports to $(Install-Service -Folder $Package)"
} else {
    Write-Warning 'no siloscand.exe in the package: every open follows OnFailure'
}
