// A CUDA device without CUDA: lets fake tensors on cuda:0 run backward in a CPU build of PyTorch,
// whose autograd engine otherwise finds no such device. There is nothing behind it; only tensors
// without memory (FakeTensorMode) may be put there.
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

using c10::Device;
using c10::DeviceIndex;
using c10::DeviceType;
using c10::Stream;

struct CUDAHooks final : at::CUDAHooksInterface {  // the name under which PyTorch looks for it
  explicit CUDAHooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  DeviceIndex getCurrentDevice() const override { return 0; }
};
namespace at {
C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, ::CUDAHooks)
}

struct Guard final : c10::impl::NoOpDeviceGuardImpl<DeviceType::CUDA> {
  static Device first() { return Device(DeviceType::CUDA, 0); }
  Device getDevice() const override { return first(); }
  Device exchangeDevice(Device) const override { return first(); }
  Stream getStream(Device) const noexcept override { return Stream(Stream::DEFAULT, first()); }
  Stream exchangeStream(Stream) const noexcept override { return getStream(first()); }
};

extern "C" void register_guard() { c10::impl::registerDeviceGuard(DeviceType::CUDA, new Guard()); }
