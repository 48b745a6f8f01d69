// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/* Copyright(c) 2026 The iopf authors */

/* The devices of the device tree, and /dev/smmulab. */

#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/property.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "ioctl.h"
#include "smmulab.h"

#define MAX_NAMES	32

static struct lab_dev devs[LAB_NB_DEVS];
static DEFINE_MUTEX(lock);
/* The current test. */
static char running[40];
static unsigned int nb_checks, nb_failed;
/* Its failures by name: each is printed once, because there may be thousands. */
static const char *failed_names[MAX_NAMES];
static unsigned int nb_names;

static const struct {
	const char *name;
	void (*run)(struct lab_dev *t);
} tests[] = {
	{ "coherent", lab_test_coherent },
	{ "streaming", lab_test_streaming },
	{ "blocks", lab_test_blocks },
	{ "stress", lab_test_stress },
	{ "switch", lab_test_switch },
	{ "pasid", lab_test_pasid },
	{ "iopf", lab_test_iopf },
	{ "errors", lab_test_errors },
	{ "ats", lab_test_ats },
	{ "dead", lab_test_dead },
};

static bool
first_of_name(const char *name)
{
	unsigned int i;

	for (i = 0; i < nb_names; i++)
		if (!strcmp(failed_names[i], name))
			return false;
	if (nb_names == MAX_NAMES)
		return false;
	failed_names[nb_names++] = name;
	return true;
}

bool
lab_check(bool ok, const char *name, const char *fmt, ...)
{
	struct va_format vaf = { .fmt = fmt };
	va_list ap;

	nb_checks++;
	nb_failed += !ok;
	if (ok || !first_of_name(name))
		return ok;
	va_start(ap, fmt);
	vaf.va = &ap;
	pr_err("lab: FAILED %s: %s%pV\n", running, name, &vaf);
	va_end(ap);
	return false;
}

static struct lab_dev *
dev_of(unsigned int i)
{
	return i < LAB_NB_DEVS && devs[i].dev ? &devs[i] : NULL;
}

static long
run_test(void __user *arg)
{
	struct lab_run run;
	struct lab_dev *t;
	unsigned int i;

	if (copy_from_user(&run, arg, sizeof(run)))
		return -EFAULT;
	run.test[sizeof(run.test) - 1] = '\0';
	t = dev_of(run.dev);
	if (!t)
		return -ENODEV;
	for (i = 0; i < ARRAY_SIZE(tests) && strcmp(tests[i].name, run.test); i++)
		;
	if (i == ARRAY_SIZE(tests))
		return -EINVAL;
	snprintf(running, sizeof(running), "%s.%u", run.test, run.dev);
	nb_checks = nb_failed = nb_names = 0;
	lab_mark(running);
	tests[i].run(t);
	pr_info("lab: test %s: %u checks, %u failed\n", running, nb_checks, nb_failed);
	return 0;
}

static long
do_dma(void __user *arg)
{
	struct lab_dma dma;
	struct lab_dev *t;
	int ret;

	if (copy_from_user(&dma, arg, sizeof(dma)))
		return -EFAULT;
	t = dev_of(dma.dev);
	if (!t || dma.len > LAB_DATA_SIZE)
		return -EINVAL;
	lab_init(t, dma.op);
	lab_mb->addr = dma.addr;
	lab_mb->len = dma.len;
	lab_mb->has_pasid = 1;
	lab_mb->pasid = dma.pasid;
	lab_mb->instruction = dma.instruction;
	lab_mb->write = dma.write;
	lab_mb->stream = dma.stream;
	if (dma.op == LAB_WRITE &&
			copy_from_user(lab_data(), u64_to_user_ptr(dma.buf), dma.len))
		return -EFAULT;
	ret = lab_go();
	if (ret < 0)
		return ret;
	dma.status = lab_mb->status;
	dma.nb_stalls = lab_mb->nb_stalls;
	dma.nb_bad = lab_mb->nb_bad;
	if (dma.op == LAB_READ && copy_to_user(u64_to_user_ptr(dma.buf), lab_data(), dma.len))
		return -EFAULT;
	return copy_to_user(arg, &dma, sizeof(dma)) ? -EFAULT : 0;
}

static long
bind_process(unsigned int __user *arg)
{
	struct lab_dev *t;
	unsigned int i;
	int ret;

	if (get_user(i, arg))
		return -EFAULT;
	t = dev_of(i);
	if (!t || t->sva)
		return -EINVAL;
	ret = lab_enable_sva(t->dev);
	if (ret == 0) {
		t->sva = iommu_sva_bind_device(t->dev, current->mm);
		ret = PTR_ERR_OR_ZERO(t->sva);
	}
	if (ret) {
		t->sva = NULL;
		lab_disable_iopf(t->dev);
		return ret;
	}
	return put_user(iommu_sva_get_pasid(t->sva), arg);
}

static long
unbind_process(unsigned int __user *arg)
{
	struct lab_dev *t;
	unsigned int i;

	if (get_user(i, arg))
		return -EFAULT;
	t = dev_of(i);
	if (!t || !t->sva)
		return -EINVAL;
	iommu_sva_unbind_device(t->sva);
	t->sva = NULL;
	lab_disable_iopf(t->dev);
	return 0;
}

static long
report(void __user *arg)
{
	struct lab_report r;
	int ret;

	lab_init(NULL, LAB_REPORT);
	ret = lab_go();
	if (ret)
		return ret;
	r.driver_errors = lab_mb->driver_errors;
	r.oracle_errors = lab_mb->oracle_errors;
	r.stalls_outstanding = lab_mb->stalls_outstanding;
	return copy_to_user(arg, &r, sizeof(r)) ? -EFAULT : 0;
}

static long
mark(void __user *arg)
{
	char text[128];

	if (copy_from_user(text, arg, sizeof(text)))
		return -EFAULT;
	text[sizeof(text) - 1] = '\0';
	lab_mark(text);
	return 0;
}

static long
end(void)
{
	lab_init(NULL, LAB_END);
	return lab_go();
}

static long
smmulab_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *p = (void __user *)arg;
	long ret = -ENOTTY;

	/* It runs beside the other requests. */
	if (cmd == LAB_IOC_WATCH)
		return lab_watch(p);
	mutex_lock(&lock);
	switch (cmd) {
	case LAB_IOC_RUN:
		ret = run_test(p);
		break;
	case LAB_IOC_DMA:
		ret = do_dma(p);
		break;
	case LAB_IOC_BIND:
		ret = bind_process(p);
		break;
	case LAB_IOC_UNBIND:
		ret = unbind_process(p);
		break;
	case LAB_IOC_REPORT:
		ret = report(p);
		break;
	case LAB_IOC_MARK:
		ret = mark(p);
		break;
	case LAB_IOC_END:
		ret = end();
		break;
	case LAB_IOC_BENCH:
		ret = lab_bench(&devs[0], p);
		break;
	}
	mutex_unlock(&lock);
	return ret;
}

/* The mailbox, for a program that drives the SMMU itself. */
static int
smmulab_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma->vm_pgoff != 0 || vma->vm_end - vma->vm_start > LAB_MAILBOX_SIZE)
		return -EINVAL;
	return remap_pfn_range(vma, vma->vm_start, LAB_MAILBOX >> PAGE_SHIFT,
			vma->vm_end - vma->vm_start, vma->vm_page_prot);
}

static const struct file_operations smmulab_fops = {
	.owner = THIS_MODULE,
	.mmap = smmulab_mmap,
	.unlocked_ioctl = smmulab_ioctl,
};

static struct miscdevice smmulab_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "smmulab",
	.fops = &smmulab_fops,
};

static int
add_dev(unsigned int i, struct device *dev)
{
	struct iommu_fwspec *fw = dev_iommu_fwspec_get(dev);

	if (i >= LAB_NB_DEVS || !fw || fw->num_ids == 0) {
		dev_err(dev, "lab: FAILED probe: device %u has a StreamID\n", i);
		return -EINVAL;
	}
	dma_set_mask_and_coherent(dev, DMA_BIT_MASK(48));
	devs[i].dev = dev;
	devs[i].sid = fw->ids[0];
	devs[i].stall = device_property_read_bool(dev, "dma-can-stall");
	dev_info(dev, "lab: device %u, StreamID %u%s%s\n", i, devs[i].sid,
		devs[i].stall ? ", can stall" : "", devs[i].ats ? ", ATS" : "");
	return 0;
}

static int
probe_platform(struct platform_device *pdev)
{
	u32 i;

	if (of_property_read_u32(pdev->dev.of_node, "index", &i))
		return -EINVAL;
	return add_dev(i, &pdev->dev);
}

static const struct of_device_id of_ids[] = { { .compatible = "iopf,smmulab" }, { } };
static struct platform_driver platform_driver = {
	.probe = probe_platform,
	.driver = { .name = "smmulab", .of_match_table = of_ids },
};

static int
probe_pci(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret = pci_enable_device(pdev);

	if (ret)
		return ret;
	pci_set_master(pdev);
	devs[LAB_PCI_DEV].ats = pdev->ats_enabled;
	return add_dev(LAB_PCI_DEV, &pdev->dev);
}

static const struct pci_device_id pci_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT_QUMRANET, PCI_ANY_ID) }, { }
};
static struct pci_driver pci_driver = {
	.name = "smmulab-pci",
	.id_table = pci_ids,
	.probe = probe_pci,
};

static int __init
smmulab_init(void)
{
	int ret;

	lab_mb = memremap(LAB_MAILBOX, LAB_MAILBOX_SIZE, MEMREMAP_WB);
	if (!lab_mb)
		return -ENOMEM;
	ret = platform_driver_register(&platform_driver);
	if (ret == 0)
		ret = pci_register_driver(&pci_driver);
	return ret ? ret : misc_register(&smmulab_misc);
}

module_init(smmulab_init);
MODULE_DESCRIPTION("Test driver of the Linux lab");
MODULE_LICENSE("Dual BSD/GPL");
LAB_IMPORT_NS();
